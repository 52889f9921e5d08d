//! The reference of the keys, for people.

use super::environment::variable;
use super::table::KEYS;
use super::{Settings, effective};

const INTRODUCTION: &str = "\
# Configuration

Made from the table of the keys; a test compares the two. A setting has the value of the last of
these that names it: its default, the code, the file (`NodeBuilder::config_file`), the environment
(`NodeBuilder::environment`), the command line (`NodeBuilder::set`). File and environment are read
only if the program asks for them, once, when the node starts.

A file is TOML. Numbers are in the unit of the key; texts stand in quotes. In variables and on
command lines a text stands without quotes, and a list has commas between its numbers. What is
unknown, out of range or contradictory ends the start with one line that names the place and the
remedy. `Settings::effective` prints what is in force, with the place of each value.

```toml
[link]
window_bytes = 2097152
```
";

/// All keys in Markdown.
pub(super) fn print() -> String {
    let mut text = INTRODUCTION.to_owned();
    let defaults = Settings::new("");
    let mut section = "";
    for key in &KEYS {
        if key.section != section {
            section = key.section;
            effective::write(&mut text, format_args!("\n## `[{section}]`\n"));
        }
        let default = key.value(&defaults);
        let default = default.map_or_else(|| "none".to_owned(), |value| value.to_string());
        effective::write(&mut text, format_args!("\n### `{}`\n\n", key.path()));
        paragraph(&mut text, "", key.meaning);
        text.push('\n');
        let values = format!("Values: {}. Default: `{default}`.", key.form());
        paragraph(&mut text, "- ", &values);
        paragraph(&mut text, "- ", &format!("Variable: `{}`.", variable(key)));
        paragraph(&mut text, "- ", &format!("Too small: {}", key.too_small));
        paragraph(&mut text, "- ", &format!("Too large: {}", key.too_large));
    }
    text
}

/// Writes `words` in lines of at most 100 columns, the first behind `mark`.
fn paragraph(text: &mut String, mark: &str, words: &str) {
    let mut column = 0;
    for word in words.split_whitespace() {
        if column == 0 {
            text.push_str(mark);
            column = mark.len();
        } else if column + 1 + word.chars().count() > COLUMNS {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', mark.len()));
            column = mark.len();
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += word.chars().count();
    }
    text.push('\n');
}

const COLUMNS: usize = 100;
