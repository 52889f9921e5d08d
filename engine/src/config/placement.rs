//! The keys of what is spawned elsewhere, and the section that places actors by their paths.

use toml::de::{DeTable, DeValue};

use super::Given;
use super::key::{Key, Kind, Value};
use super::problem::{ConfigurationError, SettingSource};
use crate::deploy::{AllowList, Placements, rule};

const SECTION: &str = "placement";

/// The key that has all rules as one text.
const RULES_NAME: &str = "rules";

pub(super) const RULES: Key = Key {
    section: SECTION,
    name: RULES_NAME,
    meaning: "Where actors that are spawned by `spawn_at` live, by their paths on this node; it \
              wins over what the program says. `*` stands for any last name. Several nodes take \
              turns, and `here` is this one. In a file each path may be a key of the section, \
              with one node or a list: `\"/user/boss/*\" = [\"ringmesh://demo@10.0.0.2:7400\", \
              \"here\"]`.",
    too_small: "empty: they live where the program says.",
    too_large: "more than 256 paths, or 64 nodes for one, are refused.",
    kind: Kind::Text {
        form: "paths with the nodes of their actors such as \
               \"/user/boss/*=ringmesh://demo@10.0.0.2:7400,here;/user/log=here\"",
        get: |settings| settings.placement.clone(),
        set: |settings, text| {
            Placements::parse(text)?;
            text.clone_into(&mut settings.placement);
            Ok(())
        },
    },
};

pub(super) const ALLOW: Key = Key {
    section: "spawn",
    name: "allow",
    meaning: "Which of the registered factories other nodes may have actors made with, by their \
              keys. `*` stands for all of them; empty: none.",
    too_small: "other nodes cannot spawn here what they need.",
    too_large: "any node that reaches this one has it make whatever the program registers.",
    kind: Kind::Text {
        form: "`*`, or keys with commas between such as \"demo.worker,demo.log\"",
        get: |settings| settings.spawn_allow.clone(),
        set: |settings, text| {
            AllowList::parse(text)?;
            text.clone_into(&mut settings.spawn_allow);
            Ok(())
        },
    },
};

/// The paths of a file's section, which stand for the text of their key.
#[derive(Default)]
pub(super) struct Paths {
    rules: Vec<String>,
    /// Where the first stands.
    at: Option<usize>,
}

impl Paths {
    /// Whether a key of a section is a path.
    pub(super) fn have(section: &str, key: &str) -> bool {
        section == SECTION && key != RULES_NAME
    }

    /// Adds a path that stands `at` a place of the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn add(&mut self, path: &str, at: usize, value: &DeValue<'_>) -> Result<(), String> {
        let expected = || "write the address of a node, \"here\", or a list of them".to_owned();
        let text = |value: &DeValue<'_>| value.as_str().map(str::to_owned).ok_or_else(expected);
        let nodes = match value {
            DeValue::Array(items) => {
                let nodes = items.iter().map(|item| text(item.get_ref()));
                nodes.collect::<Result<Vec<_>, _>>()?
            }
            one => vec![text(one)?],
        };
        let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
        self.rules.push(rule(path, &nodes)?);
        self.at = Some(self.at.map_or(at, |first| first.min(at)));
        Ok(())
    }

    /// What they set together, and where the first stands; `None` without any.
    ///
    /// # Errors
    /// What is wrong with them, and where.
    pub(super) fn given(
        self,
        table: &DeTable<'_>,
        place: impl Fn(usize) -> SettingSource,
    ) -> Result<Option<Given>, (usize, ConfigurationError)> {
        let Some(at) = self.at else {
            return Ok(None);
        };
        let path = format!("{SECTION}.{RULES_NAME}");
        let place = place(at);
        let problem = |problem: String| {
            let error = ConfigurationError::new(Some(path.clone()), place.clone(), problem);
            (at, error)
        };
        let section = table.get(SECTION).map(|section| section.get_ref());
        if let Some(DeValue::Table(keys)) = section
            && keys.contains_key(RULES_NAME)
        {
            let twice = "paths stand beside the text of all: remove one of the two";
            return Err(problem(twice.to_owned()));
        }
        let text = self.rules.join(";");
        Placements::parse(&text)
            .map_err(|error| problem(format!("the paths are refused{error}")))?;
        let key = Key::find(SECTION, RULES_NAME).expect("the table has the key");
        let value = Value::Text(text);
        Ok(Some(Given { key, value, place }))
    }
}
