//! What goes to stdout, to stderr, and into the exit code.

use serde_json::Value;

use super::run;

#[test]
fn people_get_text_on_stdout_and_nothing_on_stderr() {
    let output = run("floor stream --size 64 --seconds 0.1");
    assert!(output.status.success());
    let stdout = String::from_utf8(output.stdout).expect("text");
    assert!(stdout.starts_with("floor stream 64 B"), "{stdout}");
    assert!(serde_json::from_str::<Value>(&stdout).is_err());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_wrong_command_line_ends_with_2_and_says_why_on_stderr() {
    for line in [
        "stream --size 0",
        "stream --pod --size 65",
        "stream --connections 0",
        "stream --cuts 0",
        "stream --cuts 3 --connect 127.0.0.1:1",
        "stream --colour blue",
        "echo --rate 0",
        "pubsub --subscribers 0",
        "pubsub --nodes 0",
        "pubsub --subscribers 4 --groups 5",
        "pubsub --subscribers 4 --slow 5",
        "pubsub --policy block",
        "serve",
        "serve --bind 127.0.0.1:0 --cores 0",
        "floor",
        "nonsense",
    ] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(output.stdout.is_empty(), "{line}");
        assert!(!output.stderr.is_empty(), "{line}");
    }
}

#[test]
fn help_is_no_error() {
    let output = run("--help");
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(
        text.contains("stream") && !text.contains("__peer"),
        "{text}"
    );
}
