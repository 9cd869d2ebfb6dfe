use std::thread;

use super::*;

#[test]
fn of_two_changes_at_once_none_is_lost() {
    let pool = Pool::builder("test").build().unwrap();
    let proxy = pool.reverse_proxy();
    let attempts = |proxy: &ReverseProxy, path: &str| {
        let inner = proxy.inner();
        inner
            .config
            .routes
            .get(inner.config.routes.find(path))
            .attempts
    };
    thread::scope(|scope| {
        proxy.reconfigure(|changed| {
            let other = || proxy.reconfigure(|proxy| proxy.route("/b", |it| it.attempts(9)));
            let other = scope.spawn(other);
            // Time enough for the other one, which it must not use.
            (0..1_000).for_each(|_| thread::yield_now());
            assert!(!other.is_finished());
            changed.route("/a", |it| it.attempts(8))
        });
    });
    assert_eq!((attempts(&proxy, "/a"), attempts(&proxy, "/b")), (8, 9));
}
