//! Each kind of bad configuration gives one line: the place, the key, the remedy.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use ringmesh_proto::limits;

use super::super::file::FILE_BYTES_MAX;
use super::super::{IdleMode, Settings};
use super::{Inputs, nowhere};

/// Checks that the line begins with `place` and holds each of `parts`.
#[track_caller]
fn says(inputs: &Inputs, place: &str, parts: &[&str]) {
    let line = inputs.refusal();
    assert!(
        line.starts_with(place),
        "`{line}` does not begin with `{place}`"
    );
    for part in parts {
        assert!(line.contains(part), "`{line}` lacks `{part}`");
    }
}

#[test]
fn a_file_that_cannot_be_read() {
    let mut inputs = Inputs::default();
    inputs.layers.file = Some(nowhere());
    says(
        &inputs,
        "node.toml: ",
        &["cannot be read", "No such file", "check the path"],
    );
    let folder = tempfile::tempdir().unwrap();
    inputs.layers.file = Some(folder.path().to_owned());
    says(
        &inputs,
        "",
        &["cannot be read", "Is a directory", "check the path"],
    );
}

#[test]
fn a_file_one_over_its_bound() {
    let comment = |bytes: u64| vec![b'#'; bytes as usize];
    Inputs::file(comment(FILE_BYTES_MAX)).resolve().unwrap();
    says(
        &Inputs::file(comment(FILE_BYTES_MAX + 1)),
        "node.toml: ",
        &["more than 1048576 bytes"],
    );
}

#[test]
fn a_file_that_is_not_utf8() {
    let file = Inputs::file(b"[link]\nwindow_bytes = 2 # \xff\n".to_vec());
    says(
        &file,
        "node.toml:2:20: ",
        &["not UTF-8", "save it as UTF-8"],
    );
}

#[test]
fn a_syntax_error() {
    let file = Inputs::file("[link]\nwindow_bytes = = 1\n");
    says(
        &file,
        "node.toml:2:16: ",
        &["not valid TOML", "correct this line"],
    );
    let file = Inputs::file("[link]\nwindow_bytes = 1\n\n[ask\n");
    says(
        &file,
        "node.toml:4:",
        &["not valid TOML", "correct this line"],
    );
    let file = Inputs::file("[node]\nsystem = \"open\n");
    says(
        &file,
        "node.toml:2:",
        &["not valid TOML", "correct this line"],
    );
}

#[test]
fn a_key_or_a_section_that_stands_twice() {
    let file = Inputs::file("[link]\nwindow_bytes = 1048576\nwindow_bytes = 2097152\n");
    says(
        &file,
        "node.toml:3:1: ",
        &["duplicate", "`window_bytes`", "remove one"],
    );
    let file = Inputs::file("[link]\n[ask]\n[link]\n");
    says(
        &file,
        "node.toml:3:",
        &["duplicate", "`link`", "remove one"],
    );
}

#[test]
fn an_unknown_key_names_the_nearest() {
    let file = Inputs::file("# a comment\n[link]\n  windwo_bytes = 1\n");
    let found = "did you mean `window_bytes in [link]`?";
    says(
        &file,
        "node.toml:3:3: link.windwo_bytes: ",
        &["no such key", found],
    );
    // The right name in the wrong section, and in none.
    let file = Inputs::file("[core]\nwindow_bytes = 1\n");
    says(&file, "node.toml:2:1: core.window_bytes: ", &[found]);
    let file = Inputs::file("window_bytes = 1\n");
    says(&file, "node.toml:1:1: window_bytes: ", &[found]);
    let file = Inputs::file("[larg]\nwindow_bytes = 1\n");
    let large = "did you mean `window_bytes in [large]`?";
    says(&file, "node.toml:2:1: larg.window_bytes: ", &[large]);
    // Nothing is near: the keys of the section.
    let file = Inputs::file("[ask]\nzzz = 1\n");
    says(
        &file,
        "node.toml:2:1: ask.zzz: ",
        &["its section: timeout_ms"],
    );
    // The first in the order of the lines, whatever the order of the names.
    let file = Inputs::file("[node]\nzeta = 1\nalpha = 1\n[core]\nbeta = 1\n");
    says(&file, "node.toml:2:1: node.zeta: ", &[]);
}

#[test]
fn an_unknown_section() {
    let file = Inputs::file("[links]\nwindow_bytes = 1048576\n");
    says(
        &file,
        "node.toml:2:1: links.window_bytes: ",
        &["did you mean `window_bytes in [link]`?"],
    );
    let file = Inputs::file("[zzz]\nqqq = 1\n");
    says(
        &file,
        "node.toml:2:1: zzz.qqq: ",
        &["the sections: node, core, link, large, actor, ask"],
    );
    says(
        &Inputs::file("[zzz]\n"),
        "node.toml:1:2: zzz: ",
        &["the sections: node, core"],
    );
    says(
        &Inputs::file("link = 5\n"),
        "node.toml:1:1: link: ",
        &["write [link]"],
    );
    says(
        &Inputs::file("[[link]]\n"),
        "node.toml:1:3: link: ",
        &["write [link]"],
    );
    let file = Inputs::file("[link.window_bytes]\nx = 1\n");
    says(
        &file,
        "node.toml:1:",
        &["link.window_bytes: ", "found a section"],
    );
}

#[test]
fn a_value_of_the_wrong_kind() {
    let number = "write a whole number of bytes, from 98304 to 67108864";
    for (value, found) in [
        ("\"1 MiB\"", "found a text"),
        ("1.5", "found a number with a fraction"),
        ("true", "found a truth value"),
        ("[1]", "found a list"),
        ("{ bytes = 1 }", "found a section"),
        ("1979-05-27", "found a date or time"),
    ] {
        let file = Inputs::file(format!("[link]\nwindow_bytes = {value}\n"));
        says(
            &file,
            "node.toml:2:16: link.window_bytes: ",
            &[number, found],
        );
    }
    let file = Inputs::file("[node]\nsystem = 5\n");
    says(
        &file,
        "node.toml:2:10: node.system: ",
        &["in quotes", "found a whole number"],
    );
    let file = Inputs::file("[core]\ncpus = 3\n");
    says(
        &file,
        "node.toml:2:8: core.cpus: ",
        &["a list of CPU numbers", "found a whole number"],
    );
    let file = Inputs::file("[core]\ncpus = [0, \"1\"]\n");
    says(
        &file,
        "node.toml:2:8: core.cpus: ",
        &["a list of CPU numbers"],
    );
}

#[test]
fn a_text_that_is_none_of_the_accepted() {
    for (key, value, remedy) in [
        ("node.system", "a b", "is not the name of a cluster"),
        ("node.system", "", "is not the name of a cluster"),
        ("node.bind", "localhost:1", "an IP address and a port"),
        ("node.bind", "127.0.0.1", "an IP address and a port"),
        ("node.advertise", "db1", "a host and a port"),
        ("node.advertise", "db1:0", "a host and a port"),
        ("core.idle", "sleep", "\"spin\", \"hybrid\" or \"park\""),
    ] {
        let (section, name) = key.split_once('.').unwrap();
        let file = Inputs::file(format!("[{section}]\n{name} = \"{value}\"\n"));
        let at = name.len() + 4;
        says(
            &file,
            &format!("node.toml:2:{at}: {key}: `{value}`"),
            &[remedy],
        );
    }
}

#[test]
fn a_number_out_of_its_range() {
    for value in ["98303", "67108865", "-1", "0", "9223372036854775807"] {
        let file = Inputs::file(format!("[link]\nwindow_bytes = {value}\n"));
        let remedy = "out of range: choose from 98304 to 67108864";
        says(
            &file,
            "node.toml:2:16: link.window_bytes: ",
            &[value, remedy],
        );
    }
    // No number of any type, which the reader of TOML leaves to us.
    let file = Inputs::file(format!("[link]\nwindow_bytes = {}\n", "9".repeat(80)));
    says(&file, "node.toml:2:16: ", &["a whole number of bytes"]);
    let file = Inputs::file("[core]\nmesh_slots = 1000\n");
    says(
        &file,
        "node.toml:2:14: core.mesh_slots: ",
        &["choose a power of two from 2 to 65536"],
    );
    let file = Inputs::file("[core]\ncount = 2\ncpus = [1, 4096]\n");
    says(
        &file,
        "node.toml:3:8: core.cpus: ",
        &["4096 CPU numbers is out of range"],
    );
    let file = Inputs::file("[core]\ncount = 2\ncpus = [1, 1]\n");
    says(
        &file,
        "node.toml:3:8: core.cpus: ",
        &["1 stands there twice"],
    );
    let cpus: Vec<u16> = (0..257).collect();
    let file = Inputs::file(format!("[core]\ncpus = {cpus:?}\n"));
    says(
        &file,
        "node.toml:2:8: core.cpus: ",
        &["257 entries are more than 256"],
    );
}

#[test]
fn one_over_each_bound_in_code_is_refused_by_its_key() {
    type Break = fn(&mut Settings);
    let broken: [(&str, Break); 11] = [
        ("core.count", |s| s.cores = 257),
        ("core.mesh_slots", |s| s.mesh_slots = 1025),
        ("core.hybrid_us", |s| {
            s.idle = IdleMode::Hybrid(Duration::from_secs(61))
        }),
        ("ask.timeout_ms", |s| s.ask_timeout = Duration::MAX),
        ("actor.turn_us_max", |s| s.turn_time_max = Duration::ZERO),
        ("actor.mailbox_bytes_max", |s| {
            s.mailbox_bytes_max = s.frame_bytes_max as usize - 1
        }),
        ("link.frame_bytes_max", |s| {
            s.frame_bytes_max = limits::FRAME_BYTES_CEILING + 1
        }),
        ("link.frame_bytes_max", |s| {
            s.frame_bytes_max = limits::FRAME_BYTES_MIN - 1
        }),
        ("link.window_bytes", |s| {
            s.window_bytes = s.frame_bytes_max + limits::SLAB_BYTES - 1
        }),
        ("link.window_bytes", |s| {
            s.window_bytes = limits::WINDOW_BYTES_MAX + 1
        }),
        ("core.outgoing_bytes_max", |s| {
            s.outgoing_bytes_max = 2 * s.window_bytes as usize - 1
        }),
    ];
    for (key, change) in broken {
        let inputs = Inputs::code(change);
        says(&inputs, &format!("code: {key}: "), &[]);
        assert_eq!(inputs.resolve().unwrap_err().key(), Some(key));
    }
    says(
        &Inputs::code(|s| s.system = "a b".to_owned()),
        "code: node.system: ",
        &[],
    );
}

#[test]
fn two_settings_that_contradict_each_other() {
    let file = Inputs::file("[link]\nframe_bytes_max = 524288\nwindow_bytes = 589823\n");
    let remedy = "set link.window_bytes to 589824 at least, or lower link.frame_bytes_max";
    says(&file, "node.toml:3:16: link.window_bytes: ", &[remedy]);
    // The window is nobody's, so the frame is to blame.
    let file = Inputs::file("[link]\nframe_bytes_max = 1048576\n");
    says(
        &file,
        "node.toml:2:19: link.frame_bytes_max: ",
        &["set link.window_bytes to 1114112"],
    );
    let file = Inputs::file("[core]\noutgoing_bytes_max = 2097151\n");
    says(
        &file,
        "node.toml:2:22: core.outgoing_bytes_max: ",
        &["2097152 at least"],
    );
    let file = Inputs::file("[actor]\nmailbox_bytes_max = 262143\n");
    says(
        &file,
        "node.toml:2:21: actor.mailbox_bytes_max: ",
        &["262144 at least"],
    );
    let file = Inputs::file("[core]\ncpus = [0, 1]\n");
    says(
        &file,
        "node.toml:2:8: core.cpus: ",
        &["2 of 1 cores", "as many"],
    );
    // Between two layers.
    let mut inputs = Inputs::file("[core]\ncpus = [0, 1]\ncount = 2\n");
    inputs.layers.set("core.count", "3");
    says(&inputs, "node.toml:2:8: core.cpus: ", &["2 of 3 cores"]);
}

#[test]
fn a_bad_variable() {
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    says(
        &Inputs::variable("RINGMESH__LINK__WINDOW_BYTE", "1"),
        "RINGMESH__LINK__WINDOW_BYTE: link.window_byte: ",
        &["did you mean `RINGMESH__LINK__WINDOW_BYTES`?"],
    );
    says(
        &Inputs::variable("RINGMESH__link__window_bytes", "1048576"),
        "RINGMESH__link__window_bytes: ",
        &["did you mean `RINGMESH__LINK__WINDOW_BYTES`?"],
    );
    for malformed in [
        "RINGMESH__",
        "RINGMESH__LINK",
        "RINGMESH__LINK__",
        "RINGMESH____X",
    ] {
        let remedy = "the form RINGMESH__SECTION__NAME: rename or unset it";
        says(
            &Inputs::variable(malformed, "1"),
            &format!("{malformed}: "),
            &[remedy],
        );
    }
    says(
        &Inputs::variable(bytes(b"RINGMESH__LINK__\xff"), "1"),
        "RINGMESH__LINK__\u{fffd}: ",
        &["the name of this variable is not UTF-8"],
    );
    let name = "RINGMESH__LINK__WINDOW_BYTES";
    let place = "RINGMESH__LINK__WINDOW_BYTES: link.window_bytes: ";
    says(
        &Inputs::variable(name, bytes(b"1\xff")),
        place,
        &["not UTF-8: set it anew"],
    );
    for value in ["", "1 MiB", "0x100000", "1.5", "\n"] {
        says(
            &Inputs::variable(name, value),
            place,
            &["write a whole number of bytes", "found"],
        );
    }
    says(
        &Inputs::variable(name, "5"),
        place,
        &["out of range: choose from 98304"],
    );
    let list = "RINGMESH__CORE__CPUS";
    for value in ["[0]", "0,", "0 1", "a"] {
        let place = "RINGMESH__CORE__CPUS: core.cpus: ";
        says(
            &Inputs::variable(list, value),
            place,
            &["write a list of CPU numbers"],
        );
    }
    let mut twice = Inputs::variable(name, "1048576");
    twice.variables.push((name.into(), "2097152".into()));
    says(&twice, place, &["there twice: unset one"]);
}

#[test]
fn a_bad_command_line() {
    for malformed in ["link.window_bytes", "", "link.window_bytes:5"] {
        let place = format!("command line: `{malformed}` is not KEY=VALUE");
        says(
            &Inputs::pair(malformed),
            &place,
            &["write link.window_bytes=2097152"],
        );
    }
    says(
        &Inputs::pair("link.windowbytes=1"),
        "command line: link.windowbytes: ",
        &["did you mean `link.window_bytes`?"],
    );
    says(&Inputs::pair("=1"), "command line: ", &["no such key"]);
    says(
        &Inputs::pair("window_bytes=1"),
        "command line: ",
        &["`link.window_bytes`?"],
    );
    says(
        &Inputs::pair("link.window_bytes=many"),
        "command line: link.window_bytes: ",
        &["write a whole number of bytes", "found `many`"],
    );
    says(
        &Inputs::pair("link.window_bytes=1"),
        "command line: link.window_bytes: ",
        &["choose from 98304"],
    );
    let mut twice = Inputs::pair("ask.timeout_ms=1");
    twice.layers.set("ask.timeout_ms", "2");
    says(
        &twice,
        "command line: ask.timeout_ms: ",
        &["set twice: remove one"],
    );
}

#[test]
fn what_is_wrong_stays_in_one_line_however_it_is_written() {
    says(
        &Inputs::pair("core.idle=a\nb\u{1b}[31m"),
        "command line: core.idle: `a\\nb\\u{1b}",
        &[],
    );
    let file = Inputs::file("[link]\n\"a\\nb\" = 1\n");
    says(&file, "node.toml:2:1: link.a\\nb: ", &["no such key"]);
    let long = Inputs::pair(&format!("core.idle={}", "x".repeat(10_000)));
    assert!(long.refusal().len() < 300);
}

#[test]
fn a_control_port_that_other_hosts_could_reach() {
    for (text, part) in [
        ("0.0.0.0:7401", "other hosts could reach it"),
        ("[::]:7401", "other hosts could reach it"),
        ("192.0.2.1:7401", "other hosts could reach it"),
        ("localhost:7401", "an IP address of the loopback"),
        ("127.0.0.1", "an IP address of the loopback"),
    ] {
        let file = Inputs::file(format!("[control]\nbind = \"{text}\"\n"));
        says(&file, "node.toml:2:8: ", &["control.bind", part]);
    }
    for text in ["", "127.0.0.1:0", "[::1]:7401", "127.8.9.1:7401"] {
        let file = Inputs::file(format!("[control]\nbind = \"{text}\"\n"));
        let control = file.resolve().unwrap().control;
        assert_eq!(control.map(|at| at.to_string()).unwrap_or_default(), text);
    }
}
