//! The configuration file.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::Given;
use super::key::{Key, unknown};
use super::placement::Paths;
use super::problem::{ConfigurationError, SettingSource, quoted};
use super::table::KEYS;

/// The largest file that is read: far more than all keys with a page of comment each.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the file at `path` sets.
///
/// # Errors
/// The first problem, in the order of the lines.
pub(super) fn read(path: &Path) -> Result<Vec<Given>, ConfigurationError> {
    let whole = |problem: String| {
        let source = SettingSource::File {
            path: path.to_owned(),
            position: None,
        };
        ConfigurationError::new(None, source, problem)
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| {
            whole(format!(
                "the configuration file cannot be read: {error}: check the path and who may read it"
            ))
        })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(whole(format!(
            "the file has more than {FILE_BYTES_MAX} bytes: is it a configuration file?"
        )));
    }
    let valid = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let text = Text { path, text: valid };
    if valid.len() < bytes.len() {
        let problem = "the file is not UTF-8 from here on: save it as UTF-8";
        return Err(text.problem(None, valid.len(), problem));
    }
    text.read()
}

/// The text of a file.
struct Text<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Text<'_> {
    fn read(&self) -> Result<Vec<Given>, ConfigurationError> {
        let table = DeTable::parse(self.text).map_err(|error| self.syntax(&error))?;
        let mut given = Vec::new();
        let mut problems = Vec::new();
        let mut paths = Paths::default();
        for (section, content) in table.get_ref() {
            let (name, at) = (section.get_ref(), section.span().start);
            let DeValue::Table(keys) = content.get_ref() else {
                let problem = if KEYS.iter().any(|key| key.section == name) {
                    format!("this is a section: write [{name}] once, and its keys below")
                } else {
                    unknown("", name, spell)
                };
                problems.push((at, self.problem(Some(name.to_string()), at, problem)));
                continue;
            };
            if keys.is_empty() && !KEYS.iter().any(|key| key.section == name) {
                let problem = unknown(name, "", spell);
                problems.push((at, self.problem(Some(name.to_string()), at, problem)));
            }
            for (key, value) in keys {
                if Paths::have(name, key.get_ref()) {
                    let added = paths.add(key.get_ref(), key.span().start, value.get_ref());
                    problems.extend(added.err().map(|problem| {
                        let (path, at) = (format!("{name}.{}", key.get_ref()), value.span().start);
                        (at, self.problem(Some(path), at, problem))
                    }));
                    continue;
                }
                match self.entry(
                    name,
                    key.get_ref(),
                    key.span(),
                    value.span(),
                    value.get_ref(),
                ) {
                    Ok(entry) => given.push(entry),
                    Err(problem) => problems.push((key.span().start, problem)),
                }
            }
        }
        match paths.given(table.get_ref(), |at| self.place(at)) {
            Ok(paths) => given.extend(paths),
            Err(problem) => problems.push(problem),
        }
        problems.sort_by_key(|(at, _)| *at);
        match problems.into_iter().next() {
            Some((_, problem)) => Err(problem),
            None => Ok(given),
        }
    }

    fn entry(
        &self,
        section: &str,
        name: &str,
        key_at: Range<usize>,
        value_at: Range<usize>,
        value: &DeValue<'_>,
    ) -> Result<Given, ConfigurationError> {
        let path = Some(format!("{section}.{name}"));
        let Some(number) = Key::find(section, name) else {
            return Err(self.problem(path, key_at.start, unknown(section, name, spell)));
        };
        let key = &KEYS[number];
        let value = key.read_toml(value).and_then(|value| {
            key.check(&value)?;
            Ok(value)
        });
        Ok(Given {
            key: number,
            value: value.map_err(|problem| self.problem(path, value_at.start, problem))?,
            place: self.place(value_at.start),
        })
    }

    fn syntax(&self, error: &toml::de::Error) -> ConfigurationError {
        let span = error.span().unwrap_or(self.text.len()..self.text.len());
        let message = error.message();
        let there = self
            .text
            .get(span.clone())
            .filter(|text| !text.trim().is_empty());
        let there = there.and_then(|text| text.lines().next());
        let found = there.map_or_else(String::new, |text| format!(" at {}", quoted(text)));
        let remedy = if message.contains("duplicate") {
            "remove one of the two"
        } else {
            "correct this line"
        };
        let problem = format!("the file is not valid TOML: {message}{found}: {remedy}");
        self.problem(None, span.start, problem)
    }

    fn problem(
        &self,
        key: Option<String>,
        at: usize,
        problem: impl Into<String>,
    ) -> ConfigurationError {
        ConfigurationError::new(key, self.place(at), problem)
    }

    fn place(&self, at: usize) -> SettingSource {
        let at = at.min(self.text.len());
        let boundary = (0..=at).rev().find(|at| self.text.is_char_boundary(*at));
        let before = &self.text[..boundary.unwrap_or(0)];
        let line = before.rsplit('\n').next().unwrap_or(before);
        SettingSource::File {
            path: self.path.to_owned(),
            position: Some((before.matches('\n').count() + 1, line.chars().count() + 1)),
        }
    }
}

fn spell(key: &Key) -> String {
    format!("{} in [{}]", key.name, key.section)
}
