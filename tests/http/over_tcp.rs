//! A few calls over a real port: the listener, its end, and the health check.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ackwarden::cli::healthcheck::{HealthcheckError, Probe, check};
use ackwarden::http::{serve, serve_with};
use ackwarden::ports::{ApiRequest, Stats};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::fake::{Api, answer};
use crate::samples::stats;

struct Served {
    at: SocketAddr,
    stop: oneshot::Sender<()>,
    done: JoinHandle<std::io::Result<()>>,
}

async fn served(api: Api) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let done = tokio::spawn(serve(listener, api.router, async {
        let _ = stopped.await;
    }));
    Served { at, stop, done }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ready_service_passes_the_health_check_and_stops_when_told() {
    let served = served(Api::usual()).await;
    let url = format!("http://{}/", served.at);
    spawn_blocking(move || check(&url, Probe::Ready))
        .await
        .unwrap()
        .unwrap();
    served.stop.send(()).unwrap();
    served.done.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_not_ready_fails_the_health_check_with_the_reason() {
    let api = Api::answering(|request| match request {
        ApiRequest::Stats { reply } => drop(reply.send(Stats {
            ready: false,
            kafka_trouble: Some("all brokers are down".into()),
            ..stats()
        })),
        other => answer(other),
    });
    let served = served(api).await;
    let url = format!("http://{}", served.at);
    let asked = url.clone();
    let error = spawn_blocking(move || check(&asked, Probe::Ready))
        .await
        .unwrap()
        .unwrap_err();
    // Nobody is to end a process for what takes its time.
    let alive = spawn_blocking(move || check(&url, Probe::Live)).await;
    assert_eq!(alive.unwrap(), Ok(()));
    let HealthcheckError::NotReady { detail } = error else {
        panic!("{error:?}");
    };
    assert!(
        detail.contains("rebuilt") && detail.contains("all brokers are down"),
        "{detail}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_under_way_is_answered_before_the_listener_ends() {
    let (release, mut held) = tokio::sync::mpsc::unbounded_channel();
    let api = Api::answering(move |request| {
        let _ = release.send(request);
    });
    let served = served(api).await;
    let url = format!("http://{}/api/v1/topics", served.at);
    let call = spawn_blocking(move || ureq::get(&url).call().unwrap().status().as_u16());
    let request = held.recv().await.unwrap();
    served.stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!served.done.is_finished());
    answer(request);
    assert_eq!(call.await.unwrap(), 200);
    served.done.await.unwrap().unwrap();
}

/// Sends bytes as they are, and reads until the server closes.
async fn raw(at: SocketAddr, request: String) -> String {
    let talk = move || {
        let mut stream = TcpStream::connect(at).unwrap();
        // The server may close before all is sent.
        let _ = stream.write_all(request.as_bytes());
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    };
    spawn_blocking(talk).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_a_host_is_refused() {
    let served = served(Api::usual()).await;
    let text = raw(served.at, "GET /livez HTTP/1.0\r\n\r\n".into()).await;
    assert!(text.starts_with("HTTP/1.0 403"), "{text}");
    assert!(text.contains("host-not-allowed"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_unknown_length_is_bounded_too() {
    let served = served(Api::usual()).await;
    let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400));
    let request = format!(
        "POST /api/v1/messages/orders/3/1042/ack HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(65)
    );
    let text = raw(served.at, request).await;
    assert!(text.starts_with("HTTP/1.1 413"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_request_has_the_headers_and_no_body() {
    let served = served(Api::usual()).await;
    let url = format!("http://{}/api/v1/nothing", served.at);
    let call = spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let mut response = agent.head(&url).call().unwrap();
        let body = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), body)
    });
    assert_eq!(call.await.unwrap(), (404, String::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_on_which_nothing_comes_make_room_for_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let idle = Duration::from_millis(500);
    let router = Api::usual().router;
    tokio::spawn(serve_with(listener, router, idle, std::future::pending()));
    // As many as may be open, and one of them in the middle of a request's head.
    let mut silent: Vec<TcpStream> = (0..256).map(|_| TcpStream::connect(at).unwrap()).collect();
    silent[0].write_all(b"GET /livez HT").unwrap();
    spawn_blocking(move || check(&format!("http://{at}"), Probe::Ready))
        .await
        .unwrap()
        .unwrap();
    let mut nothing = Vec::new();
    let closed = silent[1].read_to_end(&mut nothing);
    assert!(closed.is_ok_and(|n| n == 0));
}
