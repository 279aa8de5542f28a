//! Arguments, logging, exit codes.

use std::process::ExitCode;
use std::sync::Arc;

use ackwarden::app::{ServeError, Service, StopSwitch};
use ackwarden::cli::args::{Cli, Command, ConfigArgs, DemoArgs, LogArgs, LogFormat, exit};
use ackwarden::cli::logging::log_to_stderr;
use ackwarden::cli::{healthcheck, variables};
use ackwarden::config;
use ackwarden::demo;
use ackwarden::kafka::KafkaProblem;
use ackwarden::kafka::admin::Broker;
use ackwarden::ports::StoreError;
use ackwarden::runtime::prepare::PrepareError;
use clap::ArgMatches;

/// What is allocated on one thread is freed on another, all the time: glibc's allocator is slow at that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (cli, given) = Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    if let Some(name) = cli.command.not_built() {
        eprintln!(
            "ackwarden {name} is not built yet. The HTTP API does what is there: docs/api.md"
        );
        return ExitCode::from(exit::USAGE);
    }
    ExitCode::from(match cli.command {
        Command::Serve(args) => {
            log_to_stderr(&cli.log);
            serve(&args.config, &given, cli.log.log_format)
        }
        Command::Demo(args) => {
            let log_format = cli.log.log_format;
            log_to_stderr(&LogArgs {
                // The demo's own lines are the output; what goes wrong is shown between them.
                log: if cli.log.log == "info" {
                    "error".to_owned()
                } else {
                    cli.log.log.clone()
                },
                log_format,
            });
            run_demo(&args, log_format)
        }
        Command::Check(args) => check(&args.config, &given),
        Command::Healthcheck(args) => healthcheck::run(&args),
        Command::DemoServiceB(args) => match demo::service_b::run(*args) {
            Ok(()) => exit::OK,
            Err(error) => fail(&error, exit::FAILED, LogFormat::Text),
        },
        _ => exit::USAGE,
    })
}

/// Says why the process ends, as a program that reads the log expects it.
fn fail(error: &dyn std::error::Error, code: u8, format: LogFormat) -> u8 {
    say(&error.to_string(), format);
    code
}

fn say(what: &str, format: LogFormat) {
    if format == LogFormat::Json && tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!("{what}");
    } else {
        eprintln!("ackwarden: {what}");
    }
}

fn load(args: &ConfigArgs, given: &ArgMatches) -> Result<config::Loaded, config::ConfigError> {
    let overrides = args.overrides(given);
    let mut loaded = config::load(Some(&args.config), config::process_env(), &overrides)?;
    let names = config::process_env().map(|(name, _)| name);
    let unknown = variables::unknown_variables(names);
    loaded.warnings.extend(unknown);
    Ok(loaded)
}

fn serve(args: &ConfigArgs, given: &ArgMatches, format: LogFormat) -> u8 {
    let stop = Arc::<StopSwitch>::default();
    if let Err(error) = stop_on_signals(Arc::clone(&stop), format) {
        say(&format!("signals cannot be caught: {error}"), format);
    }
    let loaded = match load(args, given) {
        Ok(loaded) => loaded,
        Err(error) => return fail(&error, exit::USAGE, format),
    };
    say_what_starts(args, &loaded);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    ackwarden::kafka::keep_freed_memory();
    let service = match Service::start(loaded.config, Broker::Kafka, stop) {
        Ok(service) => service,
        Err(error) => return fail(&error, code_of(&error), format),
    };
    match service.wait() {
        Ok(()) => {
            tracing::info!("stopped");
            exit::OK
        }
        Err(error) => fail(&error, code_of(&error), format),
    }
}

fn say_what_starts(args: &ConfigArgs, loaded: &config::Loaded) {
    let config = &loaded.config;
    let store = std::path::absolute(&config.store.path);
    let names = &loaded.set_outside;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = %args.config.display(),
        group_id = config.kafka.group_id,
        instance_id = config.kafka.instance_id.as_deref(),
        store = %store.as_ref().unwrap_or(&config.store.path).display(),
        set_outside_of_the_file = (!names.is_empty()).then(|| names.join(", ")),
        "ackwarden starts"
    );
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

/// SIGTERM and SIGINT: stop in order. A second one ends at once. SIGHUP does nothing, and says so.
fn stop_on_signals(stop: Arc<StopSwitch>, format: LogFormat) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Caught from here on, not from when the thread runs.
    let entered = runtime.enter();
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut hup = signal(SignalKind::hangup())?;
    drop(entered);
    let until_the_second = async move {
        let mut asked = false;
        loop {
            let name = tokio::select! {
                _ = term.recv() => "SIGTERM",
                _ = int.recv() => "SIGINT",
                _ = hup.recv() => {
                    tracing::warn!("SIGHUP: the configuration is not read again: restart");
                    continue;
                }
            };
            if asked {
                say(&format!("{name} again: ending at once"), format);
                std::process::exit(i32::from(exit::FAILED));
            }
            tracing::info!("{name}: stopping");
            asked = true;
            stop.stop();
        }
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || runtime.block_on(until_the_second))?;
    Ok(())
}

fn check(args: &ConfigArgs, given: &ArgMatches) -> u8 {
    let loaded = match load(args, given) {
        Ok(loaded) => loaded,
        Err(error) => return fail(&error, exit::USAGE, LogFormat::Text),
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

fn run_demo(args: &DemoArgs, format: LogFormat) -> u8 {
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
            Arc::default(),
        )?))))
    });
    match played {
        Ok(tally) if tally.is_good() => exit::OK,
        Ok(_) => exit::FAILED,
        Err(error) => fail(&error, exit::FAILED, format),
    }
}
