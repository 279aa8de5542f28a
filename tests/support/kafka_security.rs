//! A broker's listeners with logins (SASL_PLAINTEXT: PLAIN and SCRAM-SHA-256) and with TLS, and the certificates for it,
//! made by the JDK's keytool in the broker's own directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::free_port;

/// The user that both mechanisms know.
pub const USER: &str = "ackwarden";
pub const PASSWORD: &str = "open sesame";

const STORE_PASSWORD: &str = "not a secret";

/// Another one, who logs in and may do only what it is allowed to.
pub const GUEST: &str = "guest";

/// What clients need to know of the listeners.
pub struct Security {
    dir: PathBuf,
    login_port: u16,
    tls_port: u16,
}

impl Security {
    /// Takes two ports and makes the certificates.
    pub fn new(dir: &Path) -> Self {
        self_signed(dir, "broker", "CN=broker");
        self_signed(dir, "stranger", "CN=stranger");
        Self {
            dir: dir.to_owned(),
            login_port: free_port(),
            tls_port: free_port(),
        }
    }

    /// `bootstrap.servers` of the listener that wants a login.
    pub fn login_brokers(&self) -> String {
        format!("127.0.0.1:{}", self.login_port)
    }

    /// `bootstrap.servers` of the listener that speaks TLS.
    pub fn tls_brokers(&self) -> String {
        format!("127.0.0.1:{}", self.tls_port)
    }

    /// Signed the broker's certificate: PEM.
    pub fn right_ca(&self) -> PathBuf {
        self.dir.join("broker.pem")
    }

    /// Signed nothing here: PEM.
    pub fn wrong_ca(&self) -> PathBuf {
        self.dir.join("stranger.pem")
    }

    /// On top of those of a broker on these ports.
    pub fn server_properties(&self, port: u16, controller_port: u16) -> String {
        let (login, tls) = (self.login_brokers(), self.tls_brokers());
        let store = self.dir.join("broker.p12");
        let clients = format!("PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://{login},SSL://{tls}");
        format!(
            "listeners={clients},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners={clients}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:{USER}
listener.name.sasl_plaintext.plain.sasl.jaas.config=\\
 org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\" user_{GUEST}=\"{PASSWORD}\";
listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=\\
 org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.ssl.ssl.keystore.type=PKCS12
listener.name.ssl.ssl.keystore.location={}
listener.name.ssl.ssl.keystore.password={STORE_PASSWORD}
listener.name.ssl.ssl.key.password={STORE_PASSWORD}
",
            store.display()
        )
    }

    /// Of the tool that formats the data directory: SCRAM's users are kept in there.
    pub fn format_arguments(&self) -> [String; 2] {
        let user = format!("SCRAM-SHA-256=[name={USER},password={PASSWORD}]");
        ["--add-scram".to_owned(), user]
    }
}

/// Makes ACLs: `Allow brokers principal RESOURCE:name:OPERATION…`. Run from its source by the JDK, with Kafka's classes on
/// the path.
pub const ALLOW: &str = r#"
import java.util.*;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.acl.*;
import org.apache.kafka.common.resource.*;

class Allow {
    public static void main(String[] args) throws Exception {
        List<AclBinding> all = new ArrayList<>();
        for (String arg : Arrays.asList(args).subList(2, args.length)) {
            String[] parts = arg.split(":");
            var resource = new ResourcePattern(ResourceType.valueOf(parts[0]), parts[1], PatternType.LITERAL);
            var operation = AclOperation.valueOf(parts[2]);
            all.add(new AclBinding(resource, new AccessControlEntry(args[1], "*", operation, AclPermissionType.ALLOW)));
        }
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
            admin.createAcls(all).all().get();
        }
    }
}
"#;

/// `{name}.p12` with key and certificate for 127.0.0.1, and `{name}.pem` with the certificate alone.
fn self_signed(dir: &Path, name: &str, subject: &str) {
    let store = dir.join(format!("{name}.p12"));
    let common = ["-alias", name, "-storepass", STORE_PASSWORD, "-keystore"];
    keytool(
        Command::new("keytool")
            .arg("-genkeypair")
            .args(common)
            .arg(&store)
            .args([
                "-storetype",
                "PKCS12",
                "-keyalg",
                "EC",
                "-groupname",
                "secp256r1",
            ])
            .args([
                "-dname",
                subject,
                "-ext",
                "SAN=ip:127.0.0.1",
                "-validity",
                "2",
            ]),
    );
    keytool(
        Command::new("keytool")
            .args(["-exportcert", "-rfc"])
            .args(common)
            .arg(&store)
            .arg("-file")
            .arg(dir.join(format!("{name}.pem"))),
    );
}

fn keytool(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("keytool, which comes with the JDK: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
