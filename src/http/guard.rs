//! Who may call at all: against DNS rebinding, against pages of other origins, against too much at once.

use std::net::SocketAddr;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use super::ApiState;
use super::problem::{Code, Problem};

/// The hosts that a request may name, without ports.
#[derive(Debug)]
pub struct Hosts(Vec<String>);

impl Hosts {
    pub fn new(listen: SocketAddr) -> Self {
        let listen = match listen {
            SocketAddr::V4(v4) => v4.ip().to_string(),
            SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
        };
        let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "[::1]"]
            .map(str::to_owned)
            .into();
        if !hosts.contains(&listen) {
            hosts.push(listen);
        }
        Self(hosts)
    }

    /// Any port will do: port forwards change it, and rebinding cannot profit from it.
    fn allows(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<Authority>() else {
            return false;
        };
        !authority.as_str().contains('@')
            && self
                .0
                .iter()
                .any(|host| authority.host().eq_ignore_ascii_case(host))
    }
}

/// A page whose name was bound to our address after it was loaded still names itself in `Host`.
pub async fn host(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let in_header = host_header(request.headers());
    let in_uri = request.uri().authority().map(Authority::as_str);
    let all_allowed = [in_header, in_uri]
        .iter()
        .flatten()
        .all(|named| state.hosts.allows(named));
    if in_header.or(in_uri).is_none() || !all_allowed {
        return Err(Problem::new(
            Code::HostNotAllowed,
            format!(
                "the Host header must be one of {}, with any port",
                state.hosts.0.join(", ")
            ),
        ));
    }
    Ok(next.run(request).await)
}

/// Changes are for programs and for our own pages: browsers say where a request comes from.
pub async fn origin(request: Request, next: Next) -> Result<Response, Problem> {
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !reads && is_foreign(request.headers()) {
        return Err(Problem::new(
            Code::OriginNotAllowed,
            "a page of another origin asked for a change; programs send neither Origin nor Sec-Fetch-Site",
        ));
    }
    Ok(next.run(request).await)
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let of_other_site = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site != "same-origin" && site != "none");
    let of_other_origin = headers.get(header::ORIGIN).is_some_and(|origin| {
        let authority = origin.to_str().ok().and_then(|o| {
            o.strip_prefix("http://")
                .or_else(|| o.strip_prefix("https://"))
        });
        match (authority, host_header(headers)) {
            (Some(theirs), Some(ours)) => !theirs.eq_ignore_ascii_case(ours),
            _ => true,
        }
    });
    of_other_site || of_other_origin
}

/// The only `Host` header, if it is text.
fn host_header(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::HOST).iter();
    match (all.next(), all.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    }
}

/// Bounds the calls that are under way; the next one is told so at once instead of waiting in an unseen queue.
pub async fn in_flight(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Ok(_permit) = state.in_flight.try_acquire() else {
        return Err(Problem::new(
            Code::Busy,
            format!(
                "{} calls are under way, which is the limit: send it again in a moment",
                super::IN_FLIGHT_MAX
            ),
        )
        .retry_after(1));
    };
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_ours_whatever_its_port_and_case_and_nothing_else_is() {
        let hosts = Hosts::new("127.0.0.7:8080".parse().unwrap());
        for ours in [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1:8080",
            "[::1]:9",
            "[::1]",
            "127.0.0.7:8080",
        ] {
            assert!(hosts.allows(ours), "{ours}");
        }
        for other in [
            "",
            "evil.example",
            "localhost.evil.example",
            "localhost@evil.example",
            "evil.example@localhost",
            "127.0.0.2",
            "::1",
            "[::2]",
            "local host",
        ] {
            assert!(!hosts.allows(other), "{other}");
        }
    }

    #[test]
    fn an_origin_is_foreign_unless_it_is_the_host_that_was_asked() {
        let check = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, value.parse().unwrap());
            }
            is_foreign(&headers)
        };
        let host = ("host", "localhost:8080");
        assert!(!check(&[host]));
        assert!(!check(&[host, ("origin", "http://localhost:8080")]));
        assert!(!check(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(!check(&[host, ("sec-fetch-site", "none")]));
        assert!(check(&[host, ("origin", "http://localhost:3000")]));
        assert!(check(&[host, ("origin", "http://evil.example")]));
        assert!(check(&[host, ("origin", "null")]));
        assert!(check(&[host, ("sec-fetch-site", "cross-site")]));
        assert!(check(&[host, ("sec-fetch-site", "same-site")]));
        assert!(check(&[("origin", "http://localhost:8080")]));
    }
}
