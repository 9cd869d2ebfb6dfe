use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, StatusCode};
use futures_util::{SinkExt as _, StreamExt as _, stream};
use http_body_util::BodyExt as _;
use lb_core::report::LoadReport;
use lb_gpu::reading::DeviceReading;
use lb_gpu::{FakeProbe, Sampler};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message as Frame;
use tower::ServiceExt as _;

use super::{App, Args};
use crate::gpu::{Gpus, Share, Work};
use crate::jobs::Tenant;

fn app() -> App {
    App::new(&Args {
        threads: 1,
        id: Some("test".into()),
        ..Args::default()
    })
}

fn spec(iterations: u64, seed: u64) -> Value {
    json!({
        "inputs": {"x": {"distribution": "normal", "mean": 0.0, "std_dev": 1.0}},
        "formula": "10 + x", "iterations": iterations, "seed": seed,
    })
}

async fn send(app: &App, method: Method, path: &str, body: impl Into<Body>) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(body.into())
        .unwrap();
    let response = app.router().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (
        status,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    )
}

async fn submit(app: &App, id: &str, spec: &Value) -> StatusCode {
    send(
        app,
        Method::PUT,
        &format!("/simulations/{id}"),
        spec.to_string(),
    )
    .await
    .0
}

/// A refusal says what is wrong and what to do about it.
fn assert_problem(answer: &(StatusCode, Value), status: StatusCode, what: &str) {
    assert_eq!(answer.0, status, "{what}: {}", answer.1);
    assert!(
        answer.1["error"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{what}"
    );
    assert!(
        answer.1["hint"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{what}"
    );
}

async fn serve(app: &App) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, app.router()).into_future());
    address
}

/// All texts of a WebSocket until it is closed, and the code it was closed with.
async fn read_all(address: SocketAddr, path: &str) -> (Vec<Value>, Option<u16>) {
    let uri = format!("ws://{address}{path}");
    let (mut socket, _) = tokio_tungstenite::connect_async(uri).await.unwrap();
    let mut texts = Vec::new();
    while let Some(Ok(frame)) = socket.next().await {
        match frame {
            Frame::Text(text) => texts.push(serde_json::from_str(&text).unwrap()),
            Frame::Close(close) => return (texts, close.map(|close| close.code.into())),
            _ => {}
        }
    }
    (texts, None)
}

#[tokio::test]
async fn a_job_is_submitted_once_and_its_result_read() {
    let app = app();
    assert_eq!(
        submit(&app, "a", &spec(10_000, 1)).await,
        StatusCode::ACCEPTED
    );
    assert_eq!(submit(&app, "a", &spec(10_000, 1)).await, StatusCode::OK);
    assert_eq!(
        submit(&app, "a", &spec(10_000, 2)).await,
        StatusCode::CONFLICT
    );
    let id = crate::jobs::JobId::parse("a").unwrap();
    app.shared.jobs.find(&id).unwrap().wait_for_end().await;
    let (status, view) = send(&app, Method::GET, "/simulations/a", "").await;
    assert_eq!(
        (status, &view["status"], &view["percent"]),
        (StatusCode::OK, &json!("finished"), &json!(100.0))
    );
    assert!((view["result"]["mean"].as_f64().unwrap() - 10.0).abs() < 0.1);
}

#[tokio::test]
async fn bad_input_gets_a_refusal_that_says_what_to_fix() {
    let app = app();
    let changed = |field: &str, value: Value| {
        let mut spec = spec(1_000, 1);
        spec[field] = value;
        spec.to_string()
    };
    let unprocessable = [
        changed("formula", json!("x +")),
        changed("formula", json!("x / 0")),
        changed("formula", json!("y")),
        changed("formula", json!("-x^2")),
        changed("iterations", json!(999)),
        changed("iterations", json!(2_000_000_000)),
        changed("inputs", json!({})),
        changed(
            "inputs",
            json!({"x": {"distribution": "normal", "mean": 0, "std_dev": -1}}),
        ),
        changed(
            "inputs",
            json!({"x": {"distribution": "uniform", "min": 1, "max": 0}}),
        ),
    ];
    for body in unprocessable {
        let answer = send(&app, Method::PUT, "/simulations/a", body.clone()).await;
        assert_problem(&answer, StatusCode::UNPROCESSABLE_ENTITY, &body);
        assert!(answer.1["field"].is_string(), "{body}");
    }
    let bad = [
        String::new(),
        "{".into(),
        "[1, 2]".into(),
        "\u{0}".into(),
        changed("seed", json!("one")),
        changed("seed", json!(-1)),
        changed("iterations", json!(1e300)),
        changed(
            "inputs",
            json!({"x": {"distribution": "pareto", "alpha": 1}}),
        ),
        spec(1_000, 1).to_string().replace("0.0", "NaN"),
        spec(1_000, 1).to_string().replace("0.0", "1e999"),
        "[".repeat(60_000),
    ];
    for body in bad {
        let answer = send(&app, Method::PUT, "/simulations/a", body.clone()).await;
        assert_problem(
            &answer,
            StatusCode::BAD_REQUEST,
            &body.chars().take(200).collect::<String>(),
        );
    }
    let unknown = send(&app, Method::GET, "/simulations/a", "").await;
    assert_problem(&unknown, StatusCode::NOT_FOUND, "nothing was accepted");
}

#[tokio::test]
async fn hostile_ids_and_paths_are_refused() {
    let app = app();
    let long = format!("/simulations/{}", "x".repeat(65));
    for path in [
        "/simulations/..%2fetc",
        "/simulations/%00",
        "/simulations/%ff",
        "/simulations/a%20b",
        "/simulations/%C3%A9",
        &long,
    ] {
        let answer = send(&app, Method::GET, path, "").await;
        assert_problem(&answer, StatusCode::BAD_REQUEST, path);
    }
    for path in ["/", "/simulations", "/simulations/a/b/c", "/etc/passwd"] {
        assert_problem(
            &send(&app, Method::GET, path, "").await,
            StatusCode::NOT_FOUND,
            path,
        );
    }
    let answer = send(&app, Method::DELETE, "/simulate", "").await;
    assert_problem(&answer, StatusCode::METHOD_NOT_ALLOWED, "DELETE /simulate");
    let answer = send(&app, Method::DELETE, "/simulations/unknown", "").await;
    assert_problem(&answer, StatusCode::NOT_FOUND, "DELETE of an unknown job");
}

#[tokio::test]
async fn a_body_of_ten_gigabytes_is_refused_after_the_first_bytes() {
    let app = app();
    let announced = Request::put("/simulations/a")
        .header("content-length", 10_u64 << 30)
        .body(Body::from_stream(stream::pending::<
            Result<Bytes, std::io::Error>,
        >()))
        .unwrap();
    let response = app.router().oneshot(announced).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);

    let mut sent = 0_u64;
    let endless = stream::repeat_with(move || {
        sent += 16 * 1024;
        assert!(sent < 1 << 20, "far more than the limit was read");
        Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 16 * 1024]))
    });
    let answer = send(&app, Method::POST, "/simulate", Body::from_stream(endless)).await;
    assert_problem(&answer, StatusCode::PAYLOAD_TOO_LARGE, "an endless body");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_is_given_up() {
    let silent = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = send(&app(), Method::PUT, "/simulations/a", silent).await;
    assert_problem(&answer, StatusCode::REQUEST_TIMEOUT, "a silent body");
}

#[tokio::test]
async fn another_content_type_is_refused() {
    let request = Request::put("/simulations/a")
        .header("content-type", "application/xml")
        .body(Body::from("<x/>"))
        .unwrap();
    let response = app().router().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn progress_is_gapless_resumable_and_ends_with_1000() {
    let app = app();
    let address = serve(&app).await;
    submit(&app, "a", &spec(300_000, 1)).await;
    let (messages, code) = read_all(address, "/simulations/a/progress").await;
    assert_eq!(code, Some(1000));
    for (index, message) in messages.iter().enumerate() {
        assert_eq!(message["seq"], index as u64 + 1);
        assert_eq!(message["ultra_engine_active"], true);
    }
    let percents: Vec<f64> = messages
        .iter()
        .map(|m| m["percent"].as_f64().unwrap())
        .collect();
    assert!(percents.is_sorted());
    let last = messages.last().unwrap();
    assert_eq!(
        (&last["status"], &last["percent"]),
        (&json!("finished"), &json!(100.0))
    );
    assert!(last["result"]["std_dev"].is_number());

    let (rest, _) = read_all(address, "/simulations/a/progress?after=2").await;
    assert_eq!(rest, messages[2..]);
    let all = messages.len();
    let (none, code) = read_all(address, &format!("/simulations/a/progress?after={all}")).await;
    assert_eq!((none.len(), code), (0, Some(1000)));
    for path in [
        format!("/simulations/a/progress?after={}", all + 1),
        "/simulations/a/progress?after=x".into(),
        "/simulations/b/progress".into(),
    ] {
        let refused = tokio_tungstenite::connect_async(format!("ws://{address}{path}")).await;
        assert!(refused.is_err(), "{path}");
    }
}

#[tokio::test]
async fn a_cancelled_job_tells_its_watchers() {
    let app = app();
    let address = serve(&app).await;
    submit(&app, "a", &spec(1_000_000_000, 1)).await;
    let watcher = tokio::spawn(read_all(address, "/simulations/a/progress"));
    let (status, view) = send(&app, Method::DELETE, "/simulations/a", "").await;
    assert_eq!(
        (status, &view["status"]),
        (StatusCode::OK, &json!("cancelled"))
    );
    let (messages, code) = watcher.await.unwrap();
    assert_eq!(messages.last().unwrap()["status"], "cancelled");
    assert_eq!(code, Some(1000));
}

#[tokio::test]
async fn who_is_to_upgrade_is_told_to_what() {
    let app = app();
    submit(&app, "a", &spec(1_000, 1)).await;
    for path in ["/simulations/a/progress", "/ticks"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = app.router().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UPGRADE_REQUIRED, "{path}");
        let header = |name| {
            answer
                .headers()
                .get(name)
                .map(axum::http::HeaderValue::as_bytes)
        };
        assert_eq!(header("upgrade"), Some(&b"websocket"[..]), "{path}");
        assert_eq!(header("connection"), Some(&b"upgrade"[..]), "{path}");
    }
}

#[tokio::test]
async fn ticks_are_numbered_and_finite() {
    let app = app();
    let address = serve(&app).await;
    let (ticks, code) = read_all(address, "/ticks?count=5&every_ms=1&from=7").await;
    let numbers: Vec<u64> = ticks.iter().map(|t| t["tick"].as_u64().unwrap()).collect();
    assert_eq!((numbers, code), (vec![7, 8, 9, 10, 11], Some(1000)));
    assert_eq!(ticks[0]["instance"], "test");
    for query in ["count=100001", "every_ms=0", "from=-1", "other=1"] {
        let refused =
            tokio_tungstenite::connect_async(format!("ws://{address}/ticks?{query}")).await;
        assert!(refused.is_err(), "{query}");
    }
}

#[tokio::test]
async fn a_direct_run_answers_with_its_result_and_the_load() {
    let app = app();
    let request = Request::post("/simulate")
        .body(Body::from(spec(1_000, 5).to_string()))
        .unwrap();
    let response = app.router().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let load = LoadReport::from_headers(response.headers())
        .unwrap()
        .unwrap();
    assert_eq!(
        (load.active_work(), load.application_utilization),
        (Some(0.0), Some(0.0))
    );
    assert_eq!(load.gpu_utilization(), None, "there is no GPU");
    assert!(load.mem_utilization.is_some());
    let answer = send(
        &app,
        Method::POST,
        "/simulate",
        spec(1_000_001, 5).to_string(),
    )
    .await;
    assert_problem(
        &answer,
        StatusCode::UNPROCESSABLE_ENTITY,
        "too many iterations",
    );
}

#[tokio::test]
async fn a_client_that_says_too_much_loses_its_stream_only() {
    let app = app();
    let address = serve(&app).await;
    let uri = format!("ws://{address}/ticks?count=1000&every_ms=60000");
    let (mut socket, _) = tokio_tungstenite::connect_async(uri).await.unwrap();
    let _ = socket.send(Frame::binary(vec![0; 1 << 20])).await;
    while let Some(Ok(_)) = socket.next().await {}
    app.shared.streams.drained().await;
    assert_eq!(
        send(&app, Method::GET, "/whoami", "").await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn an_instance_that_drains_takes_no_jobs_but_answers() {
    let app = app();
    app.drain().await;
    let answer = send(
        &app,
        Method::PUT,
        "/simulations/a",
        spec(1_000, 1).to_string(),
    )
    .await;
    assert_problem(
        &answer,
        StatusCode::SERVICE_UNAVAILABLE,
        "a job while draining",
    );
    let direct = send(&app, Method::POST, "/simulate", spec(1_000, 1).to_string()).await;
    assert_eq!(direct.0, StatusCode::OK);
}

#[tokio::test]
async fn a_table_of_inputs_is_the_same_as_json() {
    let app = app();
    let csv = |query: &str, table: &'static str| {
        Request::put(format!("/simulations/a{query}"))
            .header("content-type", "text/csv; charset=utf-8")
            .body(Body::from(table))
            .unwrap()
    };
    let query = "?formula=10%20%2B%20x&iterations=1000&seed=1";
    let table = "name,distribution,a,b,c\nx,normal,0,1,\n";
    let response = app.router().oneshot(csv(query, table)).await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(submit(&app, "a", &spec(1_000, 1)).await, StatusCode::OK);

    for (query, table, status) in [
        (query, "x,normal,0,one", StatusCode::UNPROCESSABLE_ENTITY),
        ("?formula=x", table, StatusCode::BAD_REQUEST),
        ("", table, StatusCode::BAD_REQUEST),
    ] {
        let response = app.router().oneshot(csv(query, table)).await.unwrap();
        assert_eq!(response.status(), status, "{query} {table}");
    }
}

/// A direct run on behalf of `tenant`, sent and on its way.
fn direct(app: &App, tenant: &str) -> tokio::task::JoinHandle<StatusCode> {
    let request = Request::post("/simulate")
        .header("x-tenant", tenant)
        .body(Body::from(spec(1_000, 1).to_string()))
        .unwrap();
    let answer = app.router().oneshot(request);
    tokio::spawn(async move { answer.await.unwrap().status() })
}

/// An instance where one thing runs at a time, and something runs.
async fn busy(gpus: Gpus) -> (App, lb_gpu::fair::Permit) {
    let running = gpus.turn(&Tenant::default(), Work::Job).await.unwrap();
    (App::on(gpus, &Args::default(), None), running)
}

async fn until_one_waits(app: &App) {
    while app.shared.gpus.turns().counts().0 == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_direct_run_waits_for_the_turn_of_its_tenant() {
    let (app, running) = busy(Gpus::none(1)).await;
    let waiting = direct(&app, "research");
    until_one_waits(&app).await;
    let why = app.shared.gpus.turns().explain("research");
    assert_eq!(why.expect("it waits in its tenant's name").waiting, 1);
    assert!(!waiting.is_finished() && app.active_work() == 1);
    drop(running);
    assert_eq!(waiting.await.unwrap(), StatusCode::OK);
    assert_eq!(app.active_work(), 0);

    // Control: with a second slot it does not wait for whoever has the first.
    let (app, running) = busy(Gpus::none(2)).await;
    assert_eq!(direct(&app, "research").await.unwrap(), StatusCode::OK);
    drop(running);
    let nobody = direct(&app, "no tenant at all").await.unwrap();
    assert_eq!(nobody, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_direct_run_whose_client_leaves_gives_its_place_up() {
    let (app, _running) = busy(Gpus::none(1)).await;
    let waiting = direct(&app, "research");
    until_one_waits(&app).await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!(app.shared.gpus.turns().counts().0, 0);
    assert_eq!(app.active_work(), 0);
}

#[tokio::test]
async fn a_direct_run_is_sent_elsewhere_when_the_gpu_is_lost() {
    let (probe, devices) = FakeProbe::with_devices([DeviceReading::new("GPU-A")]);
    let share = Share {
        slots: 1,
        ..Share::default()
    };
    let gpus = Gpus::watch(Sampler::start(probe), &share).await.unwrap();
    let (app, _running) = busy(gpus).await;
    let waiting = direct(&app, "research");
    until_one_waits(&app).await;
    devices.update(Vec::clear);
    assert_eq!(waiting.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
}
