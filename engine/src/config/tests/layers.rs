//! Which layer wins, and what each may say.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::{IdleMode, SettingSource, Settings};
use super::Inputs;

#[test]
fn the_defaults_are_valid() {
    Settings::new("demo").check().unwrap();
}

#[test]
fn a_later_layer_wins() {
    let mut inputs = Inputs::code(|settings| {
        settings.peers_max = 1;
        settings.tasks_max = 1;
        settings.half_open_max = 1;
        settings.actors_max = 1;
    });
    inputs.file =
        Some(b"[node]\npeers_max = 2\n[core]\ntasks_max = 2\nhalf_open_max = 2\n".to_vec());
    inputs.variables = [
        ("RINGMESH__CORE__TASKS_MAX", "3"),
        ("RINGMESH__CORE__HALF_OPEN_MAX", "3"),
        ("PATH", "/bin"),
        ("RINGMESH_CORE__TASKS_MAX", "not ours"),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .to_vec();
    inputs.layers.set("core.half_open_max", "4");
    let settings = inputs.resolve().unwrap();
    assert_eq!(settings.actors_max, 1);
    assert_eq!(settings.peers_max, 2);
    assert_eq!(settings.tasks_max, 3);
    assert_eq!(settings.half_open_max, 4);
}

#[test]
fn a_value_that_is_overridden_is_checked_all_the_same() {
    let mut inputs = Inputs::file("[node]\npeers_max = 0\n");
    inputs.layers.set("node.peers_max", "4");
    assert!(inputs.refusal().contains("out of range"));
}

#[test]
fn the_environment_is_read_only_if_asked_for() {
    let layers = super::Layers::default();
    let variables = || -> Vec<_> { panic!("the environment was read") };
    layers.resolve(Settings::new("demo"), variables).unwrap();
}

#[test]
fn every_kind_of_value_is_read_from_every_layer() {
    let file = "[node]\nsystem = 'orders'\nbind = '[::1]:7400'\nadvertise = 'db1.example:7401'\n\
                [core]\ncount = 0x2\ncpus = [3, 1]\nidle = 'spin'\n\
                [link]\nwindow_bytes = 2_097_152\n";
    let pairs = [
        ("node.system", "orders"),
        ("node.bind", "[::1]:7400"),
        ("node.advertise", "db1.example:7401"),
        ("core.count", "2"),
        ("core.cpus", "3, 1"),
        ("core.idle", "spin"),
        ("link.window_bytes", "2_097_152"),
    ];
    let mut variables = Inputs::default();
    let mut words = Inputs::default();
    for (key, value) in pairs {
        let name = format!("RINGMESH__{}", key.replace('.', "__").to_uppercase());
        variables.variables.push((name.into(), value.into()));
        words.layers.set_pair(&format!("{key}={value}"));
    }
    for inputs in [Inputs::file(file), variables, words] {
        let settings = inputs.resolve().unwrap();
        assert_eq!(settings.system, "orders");
        assert_eq!(settings.bind, "[::1]:7400".parse::<SocketAddr>().unwrap());
        assert_eq!(settings.advertise, Some(("db1.example".to_owned(), 7401)));
        assert_eq!(settings.cores, 2);
        assert_eq!(settings.cpus, [3, 1]);
        assert_eq!(settings.idle, IdleMode::Spin);
        assert_eq!(settings.window_bytes, 2 << 20);
    }
}

#[test]
fn an_empty_value_takes_back_a_list_and_an_address() {
    let mut inputs = Inputs::file("[node]\nadvertise = 'a:1'\n[core]\ncpus = [3]\n");
    inputs.layers.set("node.advertise", "");
    inputs.layers.set("core.cpus", "");
    let settings = inputs.resolve().unwrap();
    assert_eq!(settings.advertise, None);
    assert!(settings.cpus.is_empty());
}

#[test]
fn durations_are_in_the_unit_of_their_key() {
    let file = "[node]\nflush_timeout_ms = 3\n[core]\nhybrid_us = 7\n\
                [actor]\nturn_us_max = 9\n[ask]\ntimeout_ms = 11\n";
    let settings = Inputs::file(file).resolve().unwrap();
    assert_eq!(settings.flush_timeout, Duration::from_millis(3));
    assert_eq!(settings.idle, IdleMode::Hybrid(Duration::from_micros(7)));
    assert_eq!(settings.turn_time_max, Duration::from_micros(9));
    assert_eq!(settings.ask_timeout, Duration::from_millis(11));
}

#[test]
fn the_span_of_the_hybrid_mode_goes_with_the_mode_whichever_layer_names_it() {
    let mut inputs = Inputs::file("[core]\nhybrid_us = 20\nidle = 'hybrid'\n");
    inputs.code = Some(|settings| settings.idle = IdleMode::Park);
    let hybrid = IdleMode::Hybrid(Duration::from_micros(20));
    assert_eq!(inputs.resolve().unwrap().idle, hybrid);
    inputs.layers.set("core.idle", "park");
    assert_eq!(inputs.resolve().unwrap().idle, IdleMode::Park);
    // The code's own span stays where the file names the mode alone.
    let mut inputs = Inputs::file("[core]\nidle = 'hybrid'\n");
    inputs.code = Some(|settings| settings.idle = IdleMode::Hybrid(Duration::from_micros(3)));
    let hybrid = IdleMode::Hybrid(Duration::from_micros(3));
    assert_eq!(inputs.resolve().unwrap().idle, hybrid);
}

#[test]
fn a_value_has_the_place_of_the_layer_that_won() {
    let mut inputs = Inputs::file("[ask]\ntimeout_ms = 1\n");
    let place = |settings: &Settings| {
        let number = super::super::key::Key::find("ask", "timeout_ms").unwrap();
        settings.source(number)
    };
    let settings = inputs.resolve().unwrap();
    let SettingSource::File { position, .. } = place(&settings) else {
        panic!("{:?}", place(&settings));
    };
    assert_eq!(position, Some((2, 14)));
    inputs.layers.set("ask.timeout_ms", "2");
    let mut settings = inputs.resolve().unwrap();
    assert_eq!(place(&settings), SettingSource::CommandLine);
    // Changed afterwards, by code.
    settings.ask_timeout = Duration::from_secs(1);
    assert_eq!(place(&settings), SettingSource::Code);
    assert_eq!(place(&Settings::new("demo")), SettingSource::Default);
}

#[test]
fn a_reserved_control_core_comes_from_every_layer_and_needs_another_core() {
    const VARIABLE: &str = "RINGMESH__CORE__RESERVE_CONTROL_CORE";
    let key = "core.reserve_control_core";
    let with_cores = |mut inputs: Inputs, cores: &str| {
        inputs.layers.set("core.count", cores);
        inputs
    };
    let refused = "the one core is reserved";
    let remedy = "set core.count to 2 at least, or core.reserve_control_core to \"off\"";
    let layers: [fn() -> Inputs; 4] = [
        || Inputs::file("[core]\nreserve_control_core = 'on'\n"),
        || Inputs::variable(VARIABLE, "on"),
        || Inputs::pair("core.reserve_control_core=on"),
        || Inputs::code(|settings| settings.reserve_control_core = true),
    ];
    let places = ["node.toml:2:24: ", VARIABLE, "command line", "code"];
    for (layer, place) in layers.into_iter().zip(places) {
        let settings = with_cores(layer(), "2").resolve().unwrap();
        assert!(settings.reserve_control_core);
        let line = layer().refusal();
        assert!(line.starts_with(place) && line.contains(key), "{line}");
        assert!(line.contains(refused) && line.contains(remedy), "{line}");
    }
    // A later layer takes it back.
    let mut inputs = Inputs::code(|settings| settings.reserve_control_core = true);
    inputs.layers.set(key, "off");
    assert!(!inputs.resolve().unwrap().reserve_control_core);
    let line = Inputs::variable(VARIABLE, "true").refusal();
    assert!(line.contains("\"on\" or \"off\""), "{line}");
    assert!(!Settings::new("demo").reserve_control_core);
}
