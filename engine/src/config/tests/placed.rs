//! The section that places actors, and what may be spawned from outside.

use super::Inputs;

const NODE: &str = "ringmesh://demo@10.0.0.2:7400";

#[test]
fn paths_of_a_file_are_the_text_of_their_key() {
    let file = format!(
        "[placement]\n\"/user/boss/*\" = [\"{NODE}\", \"here\"]\n\"/user/log\" = \"{NODE}\"\n"
    );
    let settings = Inputs::file(file).resolve().unwrap();
    let rules = settings.placement.clone();
    let mut parts: Vec<_> = rules.split(';').collect();
    parts.sort_unstable();
    let expected = [
        format!("/user/boss/*={NODE},here"),
        format!("/user/log={NODE}"),
    ];
    assert_eq!(parts, expected);
    assert!(settings.effective().contains("[placement]\nrules = \""));
    for inputs in [
        Inputs::file(format!("[placement]\nrules = \"{rules}\"\n")),
        Inputs::variable("RINGMESH__PLACEMENT__RULES", &rules),
        Inputs::pair(&format!("placement.rules={rules}")),
    ] {
        assert_eq!(inputs.resolve().unwrap().placement, rules);
    }
}

#[test]
fn the_environment_wins_over_the_paths_of_the_file() {
    let mut inputs = Inputs::file("[placement]\n\"/user/log\" = \"here\"\n");
    inputs.variables = vec![("RINGMESH__PLACEMENT__RULES".into(), "".into())];
    assert_eq!(inputs.resolve().unwrap().placement, "");
}

#[test]
fn what_is_no_placement_is_refused_where_it_stands() {
    for (file, refusal) in [
        (
            "[placement]\n\"/user/a\" = 1\n",
            "node.toml:2:13: placement./user/a: write the address of a node",
        ),
        (
            "[placement]\n\"/user/a\" = [\"here\", 1]\n",
            "node.toml:2:13: placement./user/a: write the address of a node",
        ),
        (
            "[placement]\n\"/user/a\" = \"there\"\n",
            "node.toml:2:13: placement./user/a: `there` is neither `here` nor the address",
        ),
        (
            "[placement]\n\"user/a\" = \"here\"\n",
            "node.toml:2:12: placement.user/a: the path `user/a` does not begin with `/user/`",
        ),
        (
            "[placement]\n\"/user/*/a\" = \"here\"\n",
            "`*` stands for the last name of a path alone",
        ),
        ("[placement]\n\"/user/a\" = []\n", "list one node at least"),
        (
            "[placement]\nrules = \"\"\n\"/user/a\" = \"here\"\n",
            "node.toml:3:1: placement.rules: paths stand beside the text of all",
        ),
        (
            "[placement]\nrules = 7\n",
            "node.toml:2:9: placement.rules: write paths",
        ),
        ("placement = \"here\"\n", "write [placement] once"),
        (
            "[spawn]\nallow = \"a,,b\"\n",
            "node.toml:2:9: spawn.allow: ",
        ),
    ] {
        let line = Inputs::file(file).refusal();
        assert!(line.contains(refusal), "{line}");
    }
    let line = Inputs::variable("RINGMESH__PLACEMENT__RULES", "/user/a").refusal();
    assert!(line.contains("is not a path, `=`"), "{line}");
    let line = Inputs::code(|settings| settings.spawn_allow = "*,a".to_owned()).refusal();
    assert!(line.contains("write `*` alone"), "{line}");
}
