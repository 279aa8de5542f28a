//! Arguments, logging, exit codes.

use std::process::ExitCode;
use std::sync::Arc;

use ackwarden::app::{ServeError, Service, StopSwitch};
use ackwarden::cli::args::{Cli, Command, ConfigArgs, DemoArgs, LogArgs, LogFormat, exit};
use ackwarden::config;
use ackwarden::demo;
use ackwarden::kafka::KafkaProblem;
use ackwarden::kafka::admin::Broker;
use ackwarden::ports::StoreError;
use ackwarden::runtime::prepare::PrepareError;
use clap::Parser;

/// What is allocated on one thread is freed on another, all the time: glibc's allocator is slow at that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(name) = cli.command.not_built() {
        eprintln!(
            "ackwarden {name} is not built yet. The HTTP API does what is there: docs/api.md"
        );
        return ExitCode::from(exit::USAGE);
    }
    ExitCode::from(match cli.command {
        Command::Serve(args) => {
            log_to_stderr(&cli.log);
            serve(&args.config)
        }
        Command::Demo(args) => {
            log_to_stderr(&LogArgs {
                // The demo's own lines are the output; what goes wrong is shown between them.
                log: if cli.log.log == "info" {
                    "error".to_owned()
                } else {
                    cli.log.log.clone()
                },
                log_format: cli.log.log_format,
            });
            run_demo(&args)
        }
        Command::Check(args) => check(&args.config),
        Command::Healthcheck(args) => return ackwarden::cli::healthcheck::run(&args.url()),
        Command::DemoServiceB(args) => match demo::service_b::run(*args) {
            Ok(()) => exit::OK,
            Err(error) => fail(&error, exit::FAILED),
        },
        _ => exit::USAGE,
    })
}

fn log_to_stderr(args: &LogArgs) {
    let filter = match tracing_subscriber::EnvFilter::try_new(&args.log) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("--log {:?}: {error}; logging at info", args.log);
            tracing_subscriber::EnvFilter::new("info")
        }
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

fn fail(error: &dyn std::error::Error, code: u8) -> u8 {
    eprintln!("ackwarden: {error}");
    code
}

fn load(args: &ConfigArgs) -> Result<config::Loaded, u8> {
    config::load(Some(&args.config), config::process_env(), &args.overrides())
        .map_err(|error| fail(&error, exit::USAGE))
}

fn serve(args: &ConfigArgs) -> u8 {
    let loaded = match load(args) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    ackwarden::kafka::keep_freed_memory();
    let service = match Service::start(loaded.config, Broker::Kafka) {
        Ok(service) => service,
        Err(error) => return fail(&error, code_of(&error)),
    };
    if let Err(error) = stop_on_signals(service.switch(), true) {
        eprintln!("ackwarden: signals cannot be caught: {error}");
    }
    match service.wait() {
        Ok(()) => {
            tracing::info!("stopped");
            exit::OK
        }
        Err(error) => fail(&error, code_of(&error)),
    }
}

const fn code_of(error: &ServeError) -> u8 {
    match error {
        ServeError::Fenced { .. } => exit::FENCED,
        ServeError::Store(StoreError::InUse { .. }) => exit::STORE_IN_USE,
        ServeError::Prepare(PrepareError::TopicRefused(_)) => exit::TOPICS_REFUSED,
        ServeError::Kafka(KafkaProblem::Settings(_))
        | ServeError::Prepare(PrepareError::Kafka(KafkaProblem::Settings(_))) => exit::USAGE,
        _ => exit::FAILED,
    }
}

/// SIGTERM, and SIGINT where asked: stop in order. A second one ends at once.
fn stop_on_signals(switch: Arc<StopSwitch>, interrupt: bool) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(async move {
                use tokio::signal::unix::{SignalKind, signal};
                let Ok(mut term) = signal(SignalKind::terminate()) else {
                    return;
                };
                let Ok(mut int) = signal(SignalKind::interrupt()) else {
                    return;
                };
                for again in [false, true] {
                    tokio::select! {
                        _ = term.recv() => {}
                        _ = int.recv(), if interrupt => {}
                    }
                    if again {
                        std::process::exit(i32::from(exit::FAILED));
                    }
                    switch.stop();
                }
            });
        })?;
    Ok(())
}

fn check(args: &ConfigArgs) -> u8 {
    let loaded = match load(args) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let report = ackwarden::cli::check::check(&loaded.config, &loaded.warnings);
    print!("{}", report.text());
    report.code()
}

/// The service, as the demo plays it.
struct Played(Option<Service>);

impl demo::Coordinator for Played {
    fn http(&self) -> Option<std::net::SocketAddr> {
        self.0.as_ref().map(Service::http)
    }

    fn outstanding(&self) -> Option<u64> {
        let stats = self.0.as_ref()?.stats()?;
        stats.ready.then_some(stats.outstanding)
    }

    fn stop(&mut self) {
        if let Some(service) = self.0.take() {
            service.switch().stop();
            if let Err(error) = service.wait() {
                eprintln!("the coordinator: {error}");
            }
        }
    }
}

fn run_demo(args: &DemoArgs) -> u8 {
    let options = demo::DemoOptions {
        duration: args.run_for,
        rate: args.rate,
        ..demo::DemoOptions::default()
    };
    let listen = args.listen;
    let played = demo::run(&options, |stage| {
        let text = stage.config(listen);
        let loaded = config::load_text(
            "demo",
            &text,
            std::iter::empty(),
            &config::Overrides::default(),
        )?;
        Ok(Box::new(Played(Some(Service::start(
            loaded.config,
            Broker::Embedded,
        )?))))
    });
    match played {
        Ok(tally) if tally.is_good() => exit::OK,
        Ok(_) => exit::FAILED,
        Err(error) => fail(&error, exit::FAILED),
    }
}
