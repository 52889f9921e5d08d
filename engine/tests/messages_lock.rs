//! `messages.lock`: what it holds, what it objects to, and in which words.
#![allow(dead_code, reason = "only the shapes of these messages are looked at")]

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use ringmesh::__private::check_messages_lock;
use ringmesh::__private::proto::shape::MessageShape;
use ringmesh::{Protocol, Ref, Upgrade, message, protocol, wire};

/// One crate's messages, in the state they were released in.
mod released {
    use super::*;

    #[wire]
    pub(crate) struct Position {
        x: f32,
        y: f32,
    }

    #[wire]
    pub(crate) enum Shape {
        Point,
        Circle { center: Position, radius: f32 },
        Path(Vec<Position>, Option<char>),
    }

    #[message(id = "lock.Draw", v = 2, reply = Drawn)]
    pub(crate) struct Draw {
        shape: Shape,
        layers: [(u8, Box<[String]>); 3],
        reply_to: Ref<Api>,
        r#type: (bool,),
    }

    #[message(id = "lock.Drawn", v = 1)]
    pub(crate) struct Drawn;

    /// Its own reply.
    #[message(id = "lock.Echo", v = 1, reply = Echo)]
    pub(crate) struct Echo(bytes::Bytes, Box<str>, ());

    protocol! { pub(crate) Api = "lock.api" { Draw, Echo } }
}

/// Declares a module with one protocol, in which the listed messages are.
macro_rules! variant {
    ($module:ident { $($items:item)* } $($message:ident),*) => {
        mod $module {
            #[allow(unused_imports)]
            use super::*;
            $($items)*
            protocol! { pub(crate) Api = "lock.api" { $($message),* } }
        }
    };
}

variant!(small {
    #[message(id = "lock.Hello", v = 2, reply = Greeting)]
    pub(crate) struct Hello { name: String }
    #[message(id = "lock.Greeting", v = 1)]
    pub(crate) struct Greeting { text: String }
    #[message(id = "lock.Stop", v = 3)]
    pub(crate) struct Stop;
} Hello, Stop);

variant!(retyped {
    #[message(id = "lock.Hello", v = 2, reply = Greeting)]
    pub(crate) struct Hello { name: Box<str> }
    #[message(id = "lock.Greeting", v = 1)]
    pub(crate) struct Greeting { text: String }
    #[message(id = "lock.Stop", v = 3)]
    pub(crate) struct Stop;
} Hello, Stop);

variant!(counted {
    #[message(id = "lock.Hello", v = 3, reply = Greeting)]
    pub(crate) struct Hello { name: Box<str> }
    #[message(id = "lock.Greeting", v = 1)]
    pub(crate) struct Greeting { text: String }
    #[message(id = "lock.Stop", v = 3)]
    pub(crate) struct Stop;
    #[message(id = "lock.Added", v = 1)]
    pub(crate) struct Added;
} Hello, Stop, Added);

variant!(shrunk {
    #[message(id = "lock.Stop", v = 2)]
    pub(crate) struct Stop;
} Stop);

variant!(answered {
    #[message(id = "lock.Hello", v = 2, reply = Stop)]
    pub(crate) struct Hello { name: String }
    #[message(id = "lock.Greeting", v = 1)]
    pub(crate) struct Greeting { text: String }
    #[message(id = "lock.Stop", v = 3)]
    pub(crate) struct Stop;
} Hello, Stop, Greeting);

variant!(reading {
    #[message(id = "lock.Hello", v = 3, reply = small::Greeting, upgrades(small::Hello))]
    pub(crate) struct Hello;
    impl Upgrade<small::Hello> for Hello {
        fn upgrade(_: small::Hello) -> Self { Self }
    }
    #[message(id = "lock.Stop", v = 3)]
    pub(crate) struct Stop;
} Hello, Stop);

variant!(misreading {
    #[message(id = "lock.Hello", v = 3, reply = small::Greeting, upgrades(retyped::Hello))]
    pub(crate) struct Hello;
    impl Upgrade<retyped::Hello> for Hello {
        fn upgrade(_: retyped::Hello) -> Self { Self }
    }
    #[message(id = "lock.Stop", v = 3)]
    pub(crate) struct Stop;
} Hello, Stop);

variant!(other_hello {
    #[message(id = "lock.Hello", v = 2)]
    pub(crate) struct Hello;
} Hello);

fn check(folder: &Path, shapes: &[MessageShape]) -> Result<(), String> {
    check_messages_lock(folder, &[shapes], false)
}

/// A folder with the lock of `shapes`.
fn locked(shapes: &[MessageShape]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    check_messages_lock(folder.path(), &[shapes], true).expect("written");
    check(folder.path(), shapes).expect("what was written is what is checked");
    folder
}

fn text(folder: &Path) -> String {
    fs::read_to_string(folder.join("messages.lock")).expect("the file")
}

/// Without the fingerprints, which the next test looks at.
fn without_layouts(text: &str) -> String {
    let lines = text.lines().filter(|line| {
        !line.starts_with("  layout ") && !line.starts_with('#') && !line.starts_with("format ")
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_file_holds_messages_replies_and_parts_in_order() {
    let folder = locked(released::Api::SHAPES);
    let expected = "

lock.Draw v2 reply lock.Drawn v1
  shape: Shape
  layers: [(u8, Box<[String]>); 3]
  reply_to: Ref<lock.api>
  type: (bool,)

lock.Drawn v1

lock.Echo v1 reply lock.Echo v1
  0: Vec<u8>
  1: Box<str>
  2: ()

part Position
  x: f32
  y: f32

part Shape
  variant Point
  variant Circle
    center: Position
    radius: f32
  variant Path
    0: Vec<Position>
    1: Option<char>
";
    assert_eq!(without_layouts(&text(folder.path())), expected);
}

#[test]
fn the_layouts_are_the_fingerprints_that_peers_compare() {
    let folder = locked(released::Api::SHAPES);
    for info in released::Api::MESSAGES {
        let layout = format!("  layout {:016x}\n", info.message_type.fingerprint);
        assert!(text(folder.path()).contains(&layout), "{info:?}");
    }
}

#[test]
fn the_order_of_protocols_and_messages_changes_nothing() {
    let folder = locked(released::Api::SHAPES);
    let both = [released::Api::SHAPES, &released::Api::SHAPES[..1]];
    check_messages_lock(folder.path(), &both, false).expect("the same twice");
    let reversed: Vec<_> = released::Api::SHAPES.iter().rev().copied().collect();
    check(folder.path(), &reversed).expect("the same in another order");
}

#[test]
fn other_ends_of_lines_change_nothing() {
    let folder = locked(released::Api::SHAPES);
    let path = folder.path().join("messages.lock");
    fs::write(&path, text(folder.path()).replace('\n', "\r\n")).expect("written");
    check(folder.path(), released::Api::SHAPES).expect("as a checkout may have it");
}

#[test]
fn a_missing_file_asks_to_be_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = check(folder.path(), small::Api::SHAPES).expect_err("there is none");
    assert!(report.contains("does not exist yet"), "{report}");
    assert!(
        report.contains("UPDATE_MESSAGES_LOCK=1 cargo test"),
        "{report}"
    );
    assert!(
        report.contains("+lock.Hello v2 reply lock.Greeting v1\n"),
        "{report}"
    );
    assert!(
        !folder.path().join("messages.lock").exists(),
        "only told to is it written"
    );
}

#[test]
fn a_changed_layout_of_one_version_is_an_error_with_its_lines() {
    let folder = locked(small::Api::SHAPES);
    let before = text(folder.path());
    let report = check(folder.path(), retyped::Api::SHAPES).expect_err("it changed");
    let words = "- lock.Hello v2 has another layout than the released v2: make it v = 3\n";
    assert!(report.contains(words), "{report}");
    assert!(report.contains("\n-  name: String\n"), "{report}");
    assert!(report.contains("\n+  name: Box<str>\n"), "{report}");
    assert!(!report.contains("lock.Stop v3 has"), "{report}");
    assert_eq!(text(folder.path()), before, "a check writes nothing");
}

#[test]
fn a_higher_version_and_a_new_message_only_ask_for_the_update() {
    let folder = locked(small::Api::SHAPES);
    let report = check(folder.path(), counted::Api::SHAPES).expect_err("there is something new");
    assert!(report.contains("is out of date"), "{report}");
    assert!(
        report.contains("Nothing that was released changed"),
        "{report}"
    );
    assert!(report.contains("+lock.Added v1\n"), "{report}");
    assert!(
        report.contains("+lock.Hello v3 reply lock.Greeting v1\n"),
        "{report}"
    );
    check_messages_lock(folder.path(), &[counted::Api::SHAPES], true).expect("written");
    check(folder.path(), counted::Api::SHAPES).expect("the same now");
}

#[test]
fn an_older_version_that_is_read_stays_locked() {
    let folder = locked(small::Api::SHAPES);
    let old = text(folder.path());
    let report = check(folder.path(), reading::Api::SHAPES).expect_err("there is a new version");
    assert!(
        report.contains("Nothing that was released changed"),
        "{report}"
    );
    check_messages_lock(folder.path(), &[reading::Api::SHAPES], true).expect("written");
    let new = text(folder.path());
    assert!(
        new.contains("\nlock.Hello v3 reply lock.Greeting v1\n"),
        "{new}"
    );
    let block = old
        .split("\n\n")
        .find(|block| block.starts_with("lock.Hello v2 "));
    assert!(new.contains(block.expect("it was locked")), "{new}");
    let report = check(folder.path(), misreading::Api::SHAPES).expect_err("another v2");
    assert!(
        report.contains("- lock.Hello v2 has another layout"),
        "{report}"
    );
}

#[test]
fn a_removed_message_and_a_lower_version_have_words_of_their_own() {
    let folder = locked(small::Api::SHAPES);
    let report = check(folder.path(), shrunk::Api::SHAPES).expect_err("less than before");
    assert!(report.contains("- lock.Hello v2 was removed"), "{report}");
    assert!(
        report.contains("- lock.Greeting v1 was removed"),
        "{report}"
    );
    assert!(
        report.contains("- lock.Stop went down from v3 to v2"),
        "{report}"
    );
}

#[test]
fn another_reply_is_another_version() {
    let folder = locked(small::Api::SHAPES);
    let report = check(folder.path(), answered::Api::SHAPES).expect_err("it answers another");
    let words = "- lock.Hello v2 is answered with lock.Stop and no longer with lock.Greeting";
    assert!(report.contains(words), "{report}");
}

#[test]
fn two_messages_of_one_name_and_version_are_named() {
    let folder = locked(small::Api::SHAPES);
    let both = [small::Api::SHAPES, other_hello::Api::SHAPES];
    let report = check_messages_lock(folder.path(), &both, true).expect_err("which of them?");
    assert_eq!(report, "two different messages are called lock.Hello v2");
}

#[test]
fn another_format_of_archives_is_one_error() {
    let folder = locked(small::Api::SHAPES);
    let path = folder.path().join("messages.lock");
    let old = text(folder.path())
        .replace("format ", "format 0")
        .replace("layout ", "layout 0");
    fs::write(&path, old).expect("written");
    let report = check(folder.path(), small::Api::SHAPES).expect_err("another format");
    assert!(
        report.contains("- the format of all archives changed"),
        "{report}"
    );
    assert!(!report.contains("has another layout"), "{report}");
}

#[test]
fn a_file_that_is_none_is_out_of_date_and_written_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("messages.lock");
    for text in [
        "\n",
        "<<<<<<< ours\nlock.Hello v\n  layout\n",
        "  layout 0\nformat\npart\n",
    ] {
        fs::write(&path, text).expect("written");
        let report = check(folder.path(), small::Api::SHAPES).expect_err("no lock");
        assert!(report.contains("is out of date"), "{report}");
        check_messages_lock(folder.path(), &[small::Api::SHAPES], true).expect("written");
        check(folder.path(), small::Api::SHAPES).expect("the same now");
    }
}

/// Parts with a name that is used twice, or that means something else.
#[allow(unused_qualifications, reason = "a name with a path beside its twin")]
mod twins {
    use super::*;

    pub(crate) mod left {
        #[ringmesh::wire]
        pub(crate) struct Point(u8);
    }
    pub(crate) mod right {
        #[ringmesh::wire]
        pub(crate) struct Point(u16);
    }
    pub(crate) mod taken {
        #[ringmesh::wire]
        pub(crate) struct String;
    }

    #[message(id = "lock.Twins", v = 1)]
    pub(crate) struct Twins(
        left::Point,
        right::Point,
        taken::String,
        std::string::String,
    );

    protocol! { pub(crate) Api = "lock.twins" { Twins } }
}

#[test]
fn parts_of_one_name_are_told_apart_by_their_modules() {
    let folder = locked(twins::Api::SHAPES);
    let expected = "

lock.Twins v1
  0: messages_lock::twins::left::Point
  1: messages_lock::twins::right::Point
  2: messages_lock::twins::taken::String
  3: String

part messages_lock::twins::left::Point
  0: u8

part messages_lock::twins::right::Point
  0: u16

part messages_lock::twins::taken::String
";
    assert_eq!(without_layouts(&text(folder.path())), expected);
}

/// The child of the next test.
#[test]
#[ignore = "run by another test, with a folder"]
fn child() {
    let folder = env::var("LOCK_FOLDER").expect("the parent names a folder");
    ringmesh::__private::assert_messages_locked(&folder, &[small::Api::SHAPES]);
}

#[test]
fn the_variable_has_the_file_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |update: &str| {
        let mut child = Command::new(env::current_exe().expect("this program"));
        child.args(["--exact", "child", "--ignored"]);
        child.env("LOCK_FOLDER", folder.path());
        child.env("UPDATE_MESSAGES_LOCK", update);
        child.output().expect("it runs").status.success()
    };
    assert!(!run("0"), "there is no file, and nobody asked for one");
    assert!(run("1"), "it is written");
    assert!(run("0"), "it is right");
}
