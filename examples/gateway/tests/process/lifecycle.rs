//! Processes come and go in order.

use crate::support::{Process, runs, until};

#[tokio::test]
async fn children_do_not_outlive_a_gateway_that_is_killed() {
    let mut gateway = Process::quiet();
    gateway.instances(3).await;
    let children = gateway.children();
    assert_eq!(children.len(), 3, "{children:?}");
    gateway.signal("KILL");
    gateway.ended().await;
    until("children end", || {
        (!children.iter().any(|pid| runs(*pid))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_polite_signal_ends_everything_with_success() {
    let mut gateway = Process::quiet();
    gateway.instances(3).await;
    let children = gateway.children();
    gateway.signal("TERM");
    assert!(gateway.ended().await.success());
    assert!(!children.iter().any(|pid| runs(*pid)));
}

#[tokio::test]
async fn a_signal_in_the_middle_of_the_demonstration_ends_it_in_order() {
    for (once, succeeds) in [(false, true), (true, false)] {
        let mut arguments = vec!["--listen", "127.0.0.1:0"];
        arguments.extend(once.then_some("--once"));
        // Up to the heading of the first chapter.
        let mut gateway = Process::start(&arguments, 4);
        let children = gateway.children();
        assert!(!children.is_empty());
        gateway.signal("INT");
        assert_eq!(gateway.ended().await.success(), succeeds);
        assert!(!children.iter().any(|pid| runs(*pid)));
    }
}

#[tokio::test]
async fn a_dead_instance_is_replaced() {
    let gateway = Process::quiet();
    gateway.instances(3).await;
    let victim = gateway.children()[0];
    let kill = std::process::Command::new("sh")
        .args(["-c", "kill -9 \"$0\"", &victim.to_string()])
        .status();
    assert!(kill.unwrap().success());
    until("a new child", || {
        let children = gateway.children();
        (children.len() == 3 && !children.contains(&victim)).then_some(())
    })
    .await;
    for _ in 0..20 {
        assert!(
            gateway
                .send("GET", "/whoami", "")
                .await
                .status()
                .is_success()
        );
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_to_be_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(["--quiet", "--listen", &address])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(
        words.contains(&address) && words.contains("--listen"),
        "{words}"
    );
}
