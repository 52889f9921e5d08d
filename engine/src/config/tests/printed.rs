//! The printed settings, the reference, and the table they come from.

use std::time::Duration;

use super::super::key::{Kind, Value};
use super::super::table::KEYS;
use super::super::{IdleMode, Settings};
use super::Inputs;

/// Settings of which each differs from its default.
fn changed() -> Settings {
    let mut settings = Settings::new("orders");
    for key in &KEYS {
        let value = match (&key.kind, key.value(&settings)) {
            (Kind::Number { range, .. }, Some(Value::Number(number))) => {
                let more = if range.powers_of_two {
                    number * 2
                } else {
                    number + 1
                };
                Value::Number(more)
            }
            (Kind::Numbers { .. }, _) => Value::Numbers(vec![5, 3]),
            (Kind::Text { .. }, _) => Value::Text(match key.name {
                "bind" => "[::1]:7400".to_owned(),
                "advertise" => "[fe80::1]:7401".to_owned(),
                "idle" => "hybrid".to_owned(),
                "verify_peers" => "off".to_owned(),
                "role" => "client".to_owned(),
                "rules" => "/user/boss/*=ringmesh://demo@a:1;/user/log=here".to_owned(),
                "reserve_control_core" | "take_part" => "on".to_owned(),
                "seeds" => "alone".to_owned(),
                "members_min_of_role" => "front=2".to_owned(),
                "downing" => "static-quorum size=3 role=front".to_owned(),
                "phases" => "drain before=service-stop recover=off".to_owned(),
                "on_signal" | "on_leaving" | "on_downed" => "off".to_owned(),
                "configuration_check" => "report".to_owned(),
                "exit_codes" => "downed=7".to_owned(),
                "lease_store" => "directory /mnt/leases".to_owned(),
                _ => "orders2".to_owned(),
            }),
            (_, value) => panic!("{}: {value:?}", key.path()),
        };
        key.apply(&mut settings, value).unwrap();
    }
    settings
}

/// All values of the table.
fn values(settings: &Settings) -> Vec<Option<Value>> {
    KEYS.iter().map(|key| key.value(settings)).collect()
}

#[test]
fn the_printed_settings_are_a_file_that_gives_the_same() {
    let parks = |settings: &mut Settings| settings.idle = IdleMode::Park;
    let mut parking = Settings::new("demo");
    parks(&mut parking);
    for settings in [Settings::new("demo"), changed(), parking] {
        settings.check().unwrap();
        let again = Inputs::file(settings.effective()).resolve().unwrap();
        assert_eq!(
            values(&again),
            values(&settings),
            "{}",
            settings.effective()
        );
        // And its comments name the lines they stand on.
        let lines: Vec<_> = settings.effective().lines().map(str::to_owned).collect();
        let printed = again.effective();
        for (number, line) in lines.iter().enumerate() {
            if !line.starts_with('#') && line.contains(" = ") {
                let place = format!("node.toml:{}:", number + 1);
                let line = printed.lines().nth(number).unwrap();
                assert!(line.contains(&place), "`{line}` lacks `{place}`");
            }
        }
    }
}

#[test]
fn the_printed_settings_say_where_each_value_comes_from() {
    let mut inputs = Inputs::file("[node]\npeers_max = 7\n");
    inputs.code = Some(|settings| settings.tasks_max = 8);
    inputs.variables = vec![("RINGMESH__CORE__COUNT".into(), "2".into())];
    inputs.layers.set("core.idle", "spin");
    let printed = inputs.resolve().unwrap().effective();
    for line in [
        "system = \"demo\" # code",
        "tasks_max = 8 # code",
        "count = 2 # RINGMESH__CORE__COUNT",
        "idle = \"spin\" # command line",
        "# hybrid_us has no meaning here",
        "window_bytes = 1048576 # default",
    ] {
        assert!(
            printed.lines().any(|printed| printed == line),
            "{line}: {printed}"
        );
    }
    let peers = printed
        .lines()
        .find(|line| line.starts_with("peers_max = 7 # "));
    assert!(
        peers.is_some_and(|line| line.ends_with("node.toml:2:13")),
        "{printed}"
    );
}

#[test]
fn a_text_is_printed_so_that_it_is_read_again() {
    for text in ["plain", "\"quoted\" \\ \n \t \u{7f} \u{1b}", "über"] {
        let printed = format!("[node]\nsystem = {}\n", Value::Text(text.to_owned()));
        let table = toml::de::DeTable::parse(&printed).unwrap();
        let node = table.get_ref()["node"].get_ref().as_table().unwrap();
        assert_eq!(node["system"].get_ref().as_str(), Some(text));
    }
}

#[test]
fn every_field_has_its_key() {
    // One line for each field.
    let fields = |settings: &Settings| -> Vec<String> {
        let mut settings = settings.clone();
        settings.given.clear();
        let printed = format!("{settings:?}");
        let mut depth = 0;
        let mut fields = vec![String::new()];
        for letter in printed.trim_start_matches("Settings { ").chars() {
            match letter {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 0 => {
                    fields.push(String::new());
                    continue;
                }
                _ => {}
            }
            fields.last_mut().unwrap().push(letter);
        }
        fields
    };
    let (defaults, settings) = (fields(&Settings::new("demo")), fields(&changed()));
    assert!(defaults.len() > 20, "{defaults:#?}");
    let same = defaults
        .iter()
        .zip(&settings)
        .filter(|(one, other)| one == other);
    let same: Vec<_> = same.map(|(field, _)| field.trim()).collect();
    // What code alone can say, and what says where the others come from.
    assert_eq!(same, ["look_up: LookUp { .. }", "given: [] }"]);
}

#[test]
fn the_table_is_in_order_and_complete() {
    let mut sections: Vec<_> = KEYS.iter().map(|key| key.section).collect();
    sections.dedup();
    assert_eq!(
        sections,
        [
            "node",
            "core",
            "link",
            "large",
            "actor",
            "ask",
            "watch",
            "placement",
            "spawn",
            "cluster",
            "shutdown",
            "control"
        ]
    );
    for (number, key) in KEYS.iter().enumerate() {
        let path = key.path();
        let first = KEYS.iter().position(|other| other.path() == path);
        assert_eq!(first, Some(number), "{path} stands there twice");
        for text in [key.meaning, key.too_small, key.too_large] {
            assert!(text.ends_with('.'), "{path}: `{text}` is no sentence");
        }
        // A key must come back whole from the name of its variable.
        assert!(!path.contains("__"), "{path}");
        assert_eq!(path, path.to_lowercase());
        let Kind::Number {
            unit, range, set, ..
        } = &key.kind
        else {
            continue;
        };
        for (suffix, name) in [("_ms", "milliseconds"), ("_us", "microseconds")] {
            let named = key.name.contains(suffix) && !key.name.contains("_messages");
            assert_eq!(named, *unit == name, "{path}");
        }
        assert_eq!(key.name.contains("_bytes"), *unit == "bytes", "{path}");
        // The ends of the range go into the field unharmed.
        for end in [range.least, range.most] {
            let mut settings = Settings::new("demo");
            set(&mut settings, end);
            assert_eq!(key.value(&settings), Some(Value::Number(end)), "{path}");
        }
    }
}

#[test]
fn a_duration_of_code_is_rounded_up() {
    let mut settings = Settings::new("demo");
    settings.ask_timeout = Duration::from_nanos(1_000_001);
    assert!(settings.effective().contains("timeout_ms = 2 # code"));
    settings.check().unwrap();
    assert_eq!(settings.ask_timeout, Duration::from_nanos(1_000_001));
}

/// `UPDATE_REFERENCE=1 cargo test -p ringmesh reference` writes it anew.
#[test]
fn the_reference_is_made_from_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/configuration.md");
    let reference = Settings::reference();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(path, &reference).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    let differs = written
        .lines()
        .zip(reference.lines())
        .position(|(one, other)| one != other);
    assert!(
        written == reference,
        "configuration.md differs from the table from line {} on: run this test with \
         UPDATE_REFERENCE=1",
        differs.unwrap_or_else(|| written.lines().count()) + 1
    );
}
