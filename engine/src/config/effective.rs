//! The settings in force, as a file.

use std::fmt::Write;

use super::Settings;
use super::table::KEYS;

/// A valid configuration file that gives the same settings.
pub(super) fn print(settings: &Settings) -> String {
    let mut text = "# The settings in force, each with the place it comes from.\n".to_owned();
    let mut section = "";
    for (number, key) in KEYS.iter().enumerate() {
        if key.section != section {
            section = key.section;
            write(&mut text, format_args!("\n[{section}]\n"));
        }
        match key.value(settings) {
            Some(value) => {
                let place = settings.source(number);
                write(
                    &mut text,
                    format_args!("{} = {value} # {place}\n", key.name),
                );
            }
            None => write(
                &mut text,
                format_args!("# {} has no meaning here\n", key.name),
            ),
        }
    }
    text
}

pub(super) fn write(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line)
        .expect("a String takes whatever is written");
}
