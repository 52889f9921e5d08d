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
    let (defaults, settings) = (Settings::new("demo"), changed());
    // Exhaustive: a field that is added does not compile until it stands here.
    let Settings {
        system,
        bind,
        advertise,
        idle,
        cores,
        cpus,
        mesh_slots,
        links_per_association_max,
        mailbox_messages_max,
        mailbox_bytes_max,
        turn_messages_max,
        turn_time_max,
        dead_letters_kept,
        frame_bytes_max,
        window_bytes,
        outgoing_bytes_max,
        send_timeout,
        grant_timeout,
        ask_timeout,
        flush_timeout,
        slow_handler,
        actors_max,
        tasks_max,
        peers_max,
        half_open_max,
        given: _,
    } = defaults;
    let same = [
        ("system", system == settings.system),
        ("bind", bind == settings.bind),
        ("advertise", advertise == settings.advertise),
        ("idle", idle == settings.idle),
        ("cores", cores == settings.cores),
        ("cpus", cpus == settings.cpus),
        ("mesh_slots", mesh_slots == settings.mesh_slots),
        (
            "links_per_association_max",
            links_per_association_max == settings.links_per_association_max,
        ),
        (
            "mailbox_messages_max",
            mailbox_messages_max == settings.mailbox_messages_max,
        ),
        (
            "mailbox_bytes_max",
            mailbox_bytes_max == settings.mailbox_bytes_max,
        ),
        (
            "turn_messages_max",
            turn_messages_max == settings.turn_messages_max,
        ),
        ("turn_time_max", turn_time_max == settings.turn_time_max),
        (
            "dead_letters_kept",
            dead_letters_kept == settings.dead_letters_kept,
        ),
        (
            "frame_bytes_max",
            frame_bytes_max == settings.frame_bytes_max,
        ),
        ("window_bytes", window_bytes == settings.window_bytes),
        (
            "outgoing_bytes_max",
            outgoing_bytes_max == settings.outgoing_bytes_max,
        ),
        ("send_timeout", send_timeout == settings.send_timeout),
        ("grant_timeout", grant_timeout == settings.grant_timeout),
        ("ask_timeout", ask_timeout == settings.ask_timeout),
        ("flush_timeout", flush_timeout == settings.flush_timeout),
        ("slow_handler", slow_handler == settings.slow_handler),
        ("actors_max", actors_max == settings.actors_max),
        ("tasks_max", tasks_max == settings.tasks_max),
        ("peers_max", peers_max == settings.peers_max),
        ("half_open_max", half_open_max == settings.half_open_max),
    ];
    for (field, same) in same {
        assert!(!same, "no key of the table changes `{field}`");
    }
}

#[test]
fn the_table_is_in_order_and_complete() {
    let mut sections: Vec<_> = KEYS.iter().map(|key| key.section).collect();
    sections.dedup();
    assert_eq!(sections, ["node", "core", "link", "actor", "ask"]);
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
        differs.map_or(written.lines().count(), |line| line) + 1
    );
}
