//! A node in a process of its own and its configuration, from outside.

use std::io::Write;
use std::process::Command;

use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::process::Process;
use tempfile::NamedTempFile;

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

/// A serving node that reads the given file, with a variable and words of the command line. The
/// file is there as long as the second result.
fn node(file: &str, variable: Option<(&str, &str)>, words: &[&str]) -> (Process, NamedTempFile) {
    let mut config = NamedTempFile::with_suffix(".toml").expect("a file can be made");
    config
        .write_all(file.as_bytes())
        .expect("it can be written");
    let mut command = Command::new(LIVE_NODE);
    command
        .arg("--config")
        .arg(config.path())
        .args(words)
        .arg("serve");
    command.envs(variable);
    (Process::spawn(command), config)
}

/// The one line of a node that does not start.
fn refusal((mut node, _config): (Process, NamedTempFile)) -> String {
    let status = node.wait(WAIT);
    let lines = node.log().lines();
    assert_eq!(status.code(), Some(1), "{status}: {lines:#?}");
    let [line] = &lines[..] else {
        panic!("expected one line: {lines:#?}")
    };
    line.clone()
}

#[test]
fn a_bad_configuration_ends_the_start_with_one_line() {
    let line = refusal(node("[link]\nwindow_byte = 1\n", None, &[]));
    assert!(line.contains(".toml:2:1: link.window_byte: "), "{line}");
    assert!(line.contains("window_bytes in [link]"), "{line}");
    let variable = ("RINGMESH__LINK__WINDOW_BYTES", "1");
    let line = refusal(node("", Some(variable), &[]));
    assert!(
        line.contains("RINGMESH__LINK__WINDOW_BYTES: link.window_bytes: 1 bytes is out of range"),
        "{line}"
    );
    let line = refusal(node("", None, &["--set", "link.window_bytes"]));
    assert!(
        line.contains("`link.window_bytes` is not KEY=VALUE"),
        "{line}"
    );
}

#[test]
fn file_environment_and_command_line_steer_a_node_which_logs_its_memory_once() {
    let file = "[link]\nframe_bytes_max = 65536\nwindow_bytes = 131072\n\
                [core]\noutgoing_bytes_max = 1048576\nhalf_open_max = 1\n";
    let variable = ("RINGMESH__CORE__OUTGOING_BYTES_MAX", "2097152");
    let (node, _config) = node(file, Some(variable), &["--set", "link.window_bytes=262144"]);
    node.value("listening");
    let memory = node.log().wait_for("memory", 4);
    assert_eq!(memory.len(), 4, "{memory:#?}");
    assert!(
        memory[0].contains("outgoing messages up to 2 MiB"),
        "{memory:#?}"
    );
    assert!(memory[1].contains("window 256 KiB"), "{memory:#?}");
    assert!(memory[3].contains("of the kernel"), "{memory:#?}");
}
