//! lb-cache over TLS on real servers: Redis with a user of its access control list, and PostgreSQL.
//! The certificates are made here by openssl: an authority, and a server for 127.0.0.1.

#![allow(
    clippy::unwrap_used,
    reason = "a step of these tests that fails ends the test"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lb_cache::postgres::PostgresTier;
use lb_cache::redis::{RedisBuilder, RedisTier};
use lb_cache::tier::{Tier, When};
use testkit::Program;
use testkit::postgres::Postgres;
use testkit::redis::Redis;

/// Certificates in a folder that goes with them.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn new() -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        let names = "subjectAltName=IP:127.0.0.1";
        let key = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ];
        made.openssl(&[
            &["req", "-x509"][..],
            &key,
            &[
                "-keyout",
                "ca.key",
                "-out",
                "ca.crt",
                "-subj",
                "/CN=an authority",
                "-days",
                "2",
            ],
        ]);
        made.openssl(&[
            &["req", "-x509"][..],
            &key,
            &[
                "-keyout",
                "server.key",
                "-out",
                "server.crt",
                "-subj",
                "/CN=a server",
                "-days",
                "2",
                "-CA",
                "ca.crt",
                "-CAkey",
                "ca.key",
                "-addext",
                names,
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ],
        ]);
        made
    }

    fn openssl(&self, words: &[&[&str]]) {
        let program = Program::new("openssl", "openssl").find().expect("openssl");
        let output = Command::new(program)
            .args(words.concat())
            .current_dir(self.0.path())
            .output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }
}

const USER: &str = "cache";
const SECRET: &str = "a secret of its own";

fn redis_with_tls(certificates: &Certificates, port: u16) -> Redis {
    let text = |path: &Path| path.display().to_string();
    let (certificate, key, authority) = (
        text(&certificates.path("server.crt")),
        text(&certificates.path("server.key")),
        text(&certificates.path("ca.crt")),
    );
    let port = port.to_string();
    let redis = Redis::start_with(
        testkit::port::free(),
        &[
            "--tls-port",
            &port,
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &authority,
            "--tls-auth-clients",
            "optional",
        ],
    )
    .expect("redis with TLS");
    let secret = format!(">{SECRET}");
    // What the module documentation asks for.
    let user = [
        "ACL",
        "SETUSER",
        USER,
        "on",
        &secret,
        "~lb:*",
        "+@read",
        "+@write",
        "+@connection",
        "+eval",
        "+cluster|nodes",
        "+config|get",
    ];
    assert_eq!(redis.cli(&user).trim(), "OK");
    redis
}

async fn answers(builder: RedisBuilder) -> bool {
    let tier = builder
        .connect_timeout(Duration::from_secs(5))
        .response_timeout(Duration::from_secs(5))
        .build()
        .expect("an address");
    let put = tier.put("lb:k".into(), "v".into(), None, When::Always);
    put.await.is_ok()
        && tier
            .get("lb:k".into())
            .await
            .is_ok_and(|held| held == Some("v".into()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_over_tls_with_a_user_of_its_own() {
    let certificates = Certificates::new();
    let port = testkit::port::free();
    let _redis = redis_with_tls(&certificates, port);
    let url = format!("rediss://127.0.0.1:{port}");
    let tls = || RedisTier::single(&url).username(USER).password(SECRET);
    let trusting = || tls().root_certificates(certificates.read("ca.crt"));
    assert!(answers(trusting()).await);
    let (own, key) = (
        certificates.read("server.crt"),
        certificates.read("server.key"),
    );
    assert!(answers(trusting().identity(own, key)).await, "mutual TLS");
    assert!(
        !answers(tls()).await,
        "the public roots do not know this authority"
    );
    assert!(
        !answers(trusting().password("another")).await,
        "a wrong password"
    );
    let foreign = Certificates::new();
    assert!(!answers(tls().root_certificates(foreign.read("ca.crt"))).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_user_may_do_what_a_tier_does_and_nothing_else() {
    let certificates = Certificates::new();
    let port = testkit::port::free();
    let redis = redis_with_tls(&certificates, port);
    let tier = RedisTier::single(redis.url())
        .username(USER)
        .password(SECRET)
        .response_timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let filled = tier.put("lb:k".into(), "v".into(), None, When::Unchanged("".into()));
    assert!(filled.await.unwrap());
    let both = tier.get_many(vec!["lb:k".into(), "lb:none".into()]).await;
    let both: Vec<_> = both.into_iter().map(Result::unwrap).collect();
    assert_eq!(both, [Some("v".into()), None]);
    tier.clear("lb:".into()).await.unwrap();
    assert_eq!(tier.get("lb:k".into()).await.unwrap(), None);
    assert_eq!(tier.advice().await.unwrap(), Vec::<String>::new());
    assert!(tier.get("another's".into()).await.is_err(), "not its key");
}

/// Turns TLS on, with statements alone: files that the server writes are its own, and must
/// be nobody else's.
async fn turn_on_tls(postgres: &Postgres, certificates: &Certificates) -> tokio_postgres::Client {
    let (client, connection) =
        tokio_postgres::connect(&postgres.description(), tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    let folder: String = client
        .query_one("SHOW data_directory", &[])
        .await
        .unwrap()
        .get(0);
    for name in ["server.crt", "server.key"] {
        let lines = certificates.read(name);
        client
            .batch_execute(&format!(
                "COPY (SELECT unnest(string_to_array('{lines}', E'\\n'))) TO PROGRAM \
                 'umask 077 && cat > {folder}/{name}'"
            ))
            .await
            .unwrap();
    }
    client
        .batch_execute("ALTER SYSTEM SET ssl = on")
        .await
        .unwrap();
    client
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_over_tls() {
    let certificates = Certificates::new();
    let postgres = Postgres::start().expect("postgres");
    let server = turn_on_tls(&postgres, &certificates).await;
    let description = format!(
        "{} application_name=encrypted connect_timeout=5",
        postgres.description()
    );
    let roots = certificates.read("ca.crt");
    let tier = PostgresTier::with_tls(&description, 1, roots.as_bytes()).unwrap();
    let made = async { while tier.create_table().await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), made)
        .await
        .expect("the server takes up TLS");
    tier.put("k".into(), "v".into(), None, When::Always)
        .await
        .unwrap();
    assert_eq!(tier.get("k".into()).await.unwrap(), Some("v".into()));
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
        WHERE application_name = 'encrypted'";
    assert!(
        server
            .query_one(encrypted, &[])
            .await
            .unwrap()
            .get::<_, bool>(0)
    );

    let foreign = Certificates::new().read("ca.crt");
    let stranger = PostgresTier::with_tls(&description, 1, foreign.as_bytes()).unwrap();
    assert!(stranger.get("k".into()).await.is_err(), "another authority");
    let named = description.replace("127.0.0.1", "localhost");
    let misnamed = PostgresTier::with_tls(&named, 1, roots.as_bytes()).unwrap();
    assert!(
        misnamed.get("k".into()).await.is_err(),
        "the certificate names another host"
    );
    server
        .batch_execute("ALTER SYSTEM SET ssl = off")
        .await
        .unwrap();
    server
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    let plain = PostgresTier::with_tls(&description, 1, roots.as_bytes()).unwrap();
    let refused = async { while plain.get("k".into()).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), refused)
        .await
        .expect("no plain connection instead");
    assert!(PostgresTier::with_tls(&description, 1, b"no certificate").is_err());
}
