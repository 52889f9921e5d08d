//! Variables of the environment: `RINGMESH__SECTION__NAME`.

use std::ffi::OsString;

use super::Given;
use super::key::{Key, unknown};
use super::problem::{ConfigurationError, SettingSource};
use super::table::KEYS;

/// What the names of our variables begin with.
const PREFIX: &str = "RINGMESH__";

/// The variable that sets `key`.
pub(super) fn variable(key: &Key) -> String {
    format!("{PREFIX}{}__{}", key.section, key.name).to_uppercase()
}

/// What the variables with our prefix set.
///
/// # Errors
/// The first problem, in the order of the names.
pub(super) fn read(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<Given>, ConfigurationError> {
    let ours = |name: &OsString| name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
    let mut variables: Vec<_> = variables
        .into_iter()
        .filter(|(name, _)| ours(name))
        .collect();
    variables.sort();
    let mut given: Vec<Given> = Vec::new();
    for (name, value) in variables {
        let place = SettingSource::Environment {
            variable: name.to_string_lossy().into_owned(),
        };
        let problem = |problem: &str| ConfigurationError::new(None, place.clone(), problem);
        let Some(name) = name.to_str() else {
            return Err(problem("the name of this variable is not UTF-8: unset it"));
        };
        let Some((section, key)) = split(name) else {
            let form = "the name of this variable has not the form RINGMESH__SECTION__NAME: \
                        rename or unset it";
            return Err(problem(form));
        };
        let path = Some(format!("{section}.{key}"));
        let problem =
            |problem: String| ConfigurationError::new(path.clone(), place.clone(), problem);
        let known = Key::find(&section, &key).filter(|number| variable(&KEYS[*number]) == name);
        let Some(number) = known else {
            return Err(problem(unknown(&section, &key, variable)));
        };
        if given.iter().any(|given| given.key == number) {
            return Err(problem("the variable is there twice: unset one".to_owned()));
        }
        let Some(text) = value.to_str() else {
            return Err(problem("the value is not UTF-8: set it anew".to_owned()));
        };
        let value = KEYS[number].read_text(text).map_err(problem)?;
        KEYS[number].check(&value).map_err(problem)?;
        given.push(Given {
            key: number,
            value,
            place: place.clone(),
        });
    }
    Ok(given)
}

/// The section and the name of a key, in lower case.
fn split(variable: &str) -> Option<(String, String)> {
    let (section, name) = variable.strip_prefix(PREFIX)?.split_once("__")?;
    let whole = !section.is_empty() && !name.is_empty();
    whole.then(|| (section.to_lowercase(), name.to_lowercase()))
}
