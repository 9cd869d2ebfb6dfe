//! The gateway's own metrics: those of the crates it composes, for Prometheus at `/metrics`.

use axum::Router;
use axum::routing::get;
use http::header;
use simulation::recorder::Recorder;

/// Records from now on; `None` if this process records already. Before anything else is started.
pub(crate) fn record() -> Option<Recorder> {
    let recorder = Recorder::install()?;
    lb_autoscale::observe::describe();
    lb_cache::observe::describe();
    lb_core::observe::describe();
    lb_gpu::observe::describe();
    lb_registry::observe::describe();
    Some(recorder)
}

/// Serves what was recorded, after `publish` has handed over what is told only when asked; nothing
/// if somebody else records.
pub(crate) fn routes(
    recorder: Option<Recorder>,
    publish: impl Fn() + Clone + Send + Sync + 'static,
) -> Router {
    let Some(recorder) = recorder else {
        return Router::new();
    };
    let render = move || {
        publish();
        let text = recorder.render();
        async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text) }
    };
    Router::new().route("/metrics", get(render))
}
