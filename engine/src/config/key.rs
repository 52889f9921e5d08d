//! What a key is, and how a value is read, checked and printed.

use std::fmt;
use std::fmt::Write;

use toml::de::DeValue;

use super::Settings;
use super::problem::quoted;
use super::table::KEYS;

/// One key of the configuration.
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    /// What it means, in sentences.
    pub(super) meaning: &'static str,
    pub(super) too_small: &'static str,
    pub(super) too_large: &'static str,
    pub(super) kind: Kind,
}

/// What a key's values are, and which part of the settings they are.
pub(super) enum Kind {
    Number {
        unit: &'static str,
        range: Range,
        /// `None` when another setting makes the key meaningless.
        get: fn(&Settings) -> Option<u64>,
        set: fn(&mut Settings, u64),
    },
    /// A list without repetitions.
    Numbers {
        unit: &'static str,
        range: Range,
        count_max: usize,
        get: fn(&Settings) -> Vec<u64>,
        set: fn(&mut Settings, Vec<u64>),
    },
    Text {
        /// What is accepted, for people.
        form: &'static str,
        get: fn(&Settings) -> String,
        /// Refuses what is not of the form, with the reason where there is more to say.
        set: fn(&mut Settings, &str) -> Result<(), String>,
    },
}

/// The numbers that a key takes.
pub(super) struct Range {
    pub(super) least: u64,
    pub(super) most: u64,
    pub(super) powers_of_two: bool,
}

/// A value of the right shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Numbers(Vec<u64>),
    Text(String),
}

impl Key {
    /// `section.name`.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// Its number in the table.
    pub(super) fn find(section: &str, name: &str) -> Option<usize> {
        KEYS.iter()
            .position(|key| key.section == section && key.name == name)
    }

    /// The value that `settings` hold; `None` when another setting makes it meaningless.
    pub(super) fn value(&self, settings: &Settings) -> Option<Value> {
        match &self.kind {
            Kind::Number { get, .. } => get(settings).map(Value::Number),
            Kind::Numbers { get, .. } => Some(Value::Numbers(get(settings))),
            Kind::Text { get, .. } => Some(Value::Text(get(settings))),
        }
    }

    /// Puts `value` into `settings`.
    ///
    /// # Errors
    /// What is wrong with it. Nothing was changed.
    pub(super) fn apply(&self, settings: &mut Settings, value: Value) -> Result<(), String> {
        match (&self.kind, value) {
            (Kind::Number { range, set, .. }, Value::Number(number)) => {
                range.check(number.into(), self.unit())?;
                set(settings, number);
            }
            (Kind::Numbers { set, .. }, Value::Numbers(numbers)) => {
                self.check_list(&numbers)?;
                set(settings, numbers);
            }
            (Kind::Text { set, form, .. }, Value::Text(text)) => set(settings, &text)
                .map_err(|reason| format!("{} is not {form}{reason}", quoted(&text)))?,
            (_, _) => return Err(self.expectation()),
        }
        Ok(())
    }

    /// Checks a value against the range of the key.
    pub(super) fn check(&self, value: &Value) -> Result<(), String> {
        self.apply(&mut Settings::new(""), value.clone())
    }

    /// Reads a value of a file.
    pub(super) fn read_toml(&self, value: &DeValue<'_>) -> Result<Value, String> {
        let wrong = || {
            let found = type_name(value);
            format!("{}, found {found}", self.expectation())
        };
        match (&self.kind, value) {
            (Kind::Number { .. }, _) => self.number(value).ok_or_else(wrong)?.map(Value::Number),
            (Kind::Numbers { .. }, DeValue::Array(items)) => {
                let numbers = items.iter().map(|item| self.number(item.get_ref()));
                let numbers: Option<Result<_, _>> = numbers.collect();
                Ok(Value::Numbers(numbers.ok_or_else(wrong)??))
            }
            (Kind::Text { .. }, DeValue::String(text)) => Ok(Value::Text(text.to_string())),
            _ => Err(wrong()),
        }
    }

    /// Reads a value of the environment or of a command line: a text as it is, a number as it would
    /// stand in a file, a list with commas between.
    pub(super) fn read_text(&self, text: &str) -> Result<Value, String> {
        let number = |text: &str| match text.replace('_', "").parse::<i128>() {
            Ok(number) => self.in_range(number),
            Err(_) => Err(format!("{}, found {}", self.expectation(), quoted(text))),
        };
        match &self.kind {
            Kind::Number { .. } => number(text.trim()).map(Value::Number),
            Kind::Numbers { .. } if text.trim().is_empty() => Ok(Value::Numbers(Vec::new())),
            Kind::Numbers { .. } => {
                let numbers: Result<_, _> =
                    text.split(',').map(|text| number(text.trim())).collect();
                numbers.map(Value::Numbers)
            }
            Kind::Text { .. } => Ok(Value::Text(text.to_owned())),
        }
    }

    /// `None` when the value is no whole number.
    fn number(&self, value: &DeValue<'_>) -> Option<Result<u64, String>> {
        let written = value.as_integer()?;
        let number = i128::from_str_radix(written.as_str(), written.radix());
        Some(number.map_or_else(|_| Err(self.expectation()), |number| self.in_range(number)))
    }

    fn in_range(&self, number: i128) -> Result<u64, String> {
        if let Kind::Number { range, .. } | Kind::Numbers { range, .. } = &self.kind {
            range.check(number, self.unit())?;
        }
        u64::try_from(number).map_err(|_| self.expectation())
    }

    fn check_list(&self, numbers: &[u64]) -> Result<(), String> {
        let Kind::Numbers { count_max, .. } = &self.kind else {
            return Ok(());
        };
        if numbers.len() > *count_max {
            let count = numbers.len();
            return Err(format!(
                "{count} entries are more than {count_max}: list fewer"
            ));
        }
        for (index, number) in numbers.iter().enumerate() {
            self.in_range((*number).into())?;
            if numbers[..index].contains(number) {
                return Err(format!("{number} stands there twice: list each once"));
            }
        }
        Ok(())
    }

    fn unit(&self) -> &'static str {
        match &self.kind {
            Kind::Number { unit, .. } | Kind::Numbers { unit, .. } => unit,
            Kind::Text { .. } => "",
        }
    }

    /// What a value must look like.
    fn expectation(&self) -> String {
        match &self.kind {
            Kind::Number { unit, range, .. } => {
                format!("write a whole number of {unit}, {range}")
            }
            Kind::Numbers { unit, range, .. } => {
                format!("write a list of {unit}, each {range}: [0, 1] in a file, 0,1 elsewhere")
            }
            Kind::Text { form, .. } => format!("write {form}, in quotes in a file"),
        }
    }

    /// What the reference says about its values.
    pub(super) fn form(&self) -> String {
        match &self.kind {
            Kind::Number { unit, range, .. } => format!("{unit}, {range}"),
            Kind::Numbers { unit, range, .. } => format!("list of {unit}, each {range}"),
            Kind::Text { form, .. } => (*form).to_owned(),
        }
    }
}

impl Range {
    fn check(&self, number: i128, unit: &str) -> Result<(), String> {
        let inside = (i128::from(self.least)..=i128::from(self.most)).contains(&number);
        if !inside {
            return Err(format!("{number} {unit} is out of range: choose {self}"));
        }
        // Inside the range it is not negative.
        if self.powers_of_two && !number.unsigned_abs().is_power_of_two() {
            return Err(format!("{number} {unit} is no power of two: choose {self}"));
        }
        Ok(())
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.powers_of_two {
            f.write_str("a power of two ")?;
        }
        write!(f, "from {} to {}", self.least, self.most)
    }
}

/// As it stands in a file.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Numbers(numbers) => write!(f, "{numbers:?}"),
            Self::Text(text) => {
                f.write_char('"')?;
                for letter in text.chars() {
                    match letter {
                        '"' | '\\' => write!(f, "\\{letter}")?,
                        _ if letter.is_control() => write!(f, "\\u{:04X}", letter as u32)?,
                        _ => f.write_char(letter)?,
                    }
                }
                f.write_char('"')
            }
        }
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// What to say about a key that is not in the table. `spell` writes a key as it must stand there.
pub(super) fn unknown(section: &str, name: &str, spell: fn(&Key) -> String) -> String {
    let wanted = format!("{section}.{name}");
    let likeness = |key: &Key| {
        let whole = strsim::jaro_winkler(&wanted, &key.path());
        // The right key in the wrong section, or in none.
        let moved = if key.name == name { 1.0 } else { 0.0 };
        whole.max(moved)
    };
    // Of several keys of that name the one of the nearest section, else the first of the table.
    let section_likeness = |key: &Key| {
        let likeness = strsim::jaro_winkler(section, key.section);
        if likeness < LIKENESS_MIN {
            0.0
        } else {
            likeness
        }
    };
    let nearest = KEYS
        .iter()
        .rev()
        .map(|key| ((likeness(key), section_likeness(key)), key))
        .max_by(|(one, _), (other, _)| {
            let by_section = || one.1.total_cmp(&other.1);
            one.0.total_cmp(&other.0).then_with(by_section)
        });
    match nearest {
        Some(((likeness, _), key)) if likeness >= LIKENESS_MIN => {
            format!("there is no such key; did you mean `{}`?", spell(key))
        }
        _ => {
            let section = KEYS.iter().filter(|key| key.section == section);
            let mut names: Vec<_> = section.map(|key| key.name).collect();
            let of = if names.is_empty() {
                "the sections"
            } else {
                "its section"
            };
            if names.is_empty() {
                names.extend(KEYS.iter().map(|key| key.section));
                names.dedup();
            }
            format!("there is no such key; {of}: {}", names.join(", "))
        }
    }
}

/// Below this a suggestion confuses more than it helps.
const LIKENESS_MIN: f64 = 0.85;
