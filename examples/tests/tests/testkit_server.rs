//! The frame itself, on programs that every Debian machine has.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use testkit::{Program, Ready, Server, StartError, port};

fn web_server(port: u16) -> Result<Server, StartError> {
    Server::of(&Program::new("python3", "python3"))
        .args([
            "-m",
            "http.server",
            "--bind",
            "127.0.0.1",
            &port.to_string(),
        ])
        .ready(Ready::Http {
            port,
            path: "/".into(),
        })
        .start()
}

#[test]
fn a_missing_program_is_reported_with_the_command_that_installs_it() {
    let error = Server::of(&Program::new("no-such-server", "no-such-package"))
        .start()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no-such-server is not installed; install it with: \
         apt-get install -y --no-install-recommends no-such-package"
    );
}

#[test]
fn a_server_answers_when_it_is_handed_over_and_its_log_is_kept() {
    let server = web_server(port::free()).unwrap();
    assert!(testkit::wait::until(Duration::from_secs(5), || server
        .log()
        .contains("GET / ")));
}

#[test]
fn a_dropped_server_gives_its_port_back() {
    let port = port::free();
    drop(web_server(port).unwrap());
    assert!(port::is_free(port));
}

#[test]
fn a_process_that_ends_at_once_is_an_error_that_quotes_its_log() {
    let error = Server::of(&Program::new("sh", "dash"))
        .args(["-c", "echo out of paper; exit 3"])
        .ready(Ready::Tcp { port: port::free() })
        .start()
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("it ended") && text.contains("out of paper"),
        "{text}"
    );
}

#[test]
fn a_process_that_never_gets_ready_is_given_up_after_its_limit() {
    let error = Server::of(&Program::new("sleep", "coreutils"))
        .args(["60"])
        .ready(Ready::Log("never printed".into()))
        .within(Duration::from_millis(50))
        .start()
        .unwrap_err();
    assert!(error.to_string().contains("it took too long"));
}

#[test]
fn a_frozen_server_goes_on_after_the_thaw() {
    let port = port::free();
    let server = web_server(port).unwrap();
    server.freeze();
    assert!(server.is_running());
    server.thaw();
    assert!(web_client_gets_an_answer(port).unwrap());
}

/// A shell with a child that sleeps for long, and the process id of that child.
fn shell_with_a_child() -> (Server, u32) {
    let server = Server::of(&Program::new("sh", "dash"))
        .args(["-c", "sleep 1000 & echo child $!.; wait"])
        .ready(Ready::Log(".".into()))
        .start()
        .expect("a shell starts");
    let log = server.log();
    let child = log
        .trim()
        .trim_start_matches("child ")
        .trim_end_matches('.');
    (server, child.parse().expect("a process id"))
}

/// The state letter of a process, as `ps` shows it; `None` if it is gone.
fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether the process soon is in this state.
fn becomes(pid: u32, letter: char) -> bool {
    testkit::wait::until(Duration::from_secs(10), || state(pid) == Some(letter))
}

/// Whether the process ends soon. One that nobody has waited for yet has ended.
fn ends(pid: u32) -> bool {
    testkit::wait::until(Duration::from_secs(10), || {
        matches!(state(pid), None | Some('Z' | 'X'))
    })
}

#[test]
fn a_dropped_server_takes_its_children_along() {
    let (server, child) = shell_with_a_child();
    let shell = server.pid();
    assert!(becomes(child, 'S') && state(shell).is_some());
    drop(server);
    assert_eq!(state(shell), None);
    assert!(ends(child), "{:?}", state(child));
}

#[test]
fn the_children_of_a_server_that_ended_by_itself_end_with_its_drop() {
    let (server, child) = shell_with_a_child();
    server.terminate();
    assert!(server.wait_for_exit(Duration::from_secs(10)));
    assert!(becomes(child, 'S'));
    drop(server);
    assert!(ends(child), "{:?}", state(child));
}

#[test]
fn the_children_of_a_frozen_server_stand_still_too() {
    let (server, child) = shell_with_a_child();
    server.freeze();
    assert!(becomes(child, 'T'));
    server.thaw();
    assert!(becomes(child, 'S'));
}

fn web_client_gets_an_answer(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"HTTP/1.0")
}
