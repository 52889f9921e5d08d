//! What is set of a shutdown, and how that is written.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::plan::{PhaseSettings, Plan};
use super::reason::ShutdownReason;

/// How a node shuts down: `shutdown.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownSettings {
    /// How long each phase may take that says nothing else: 5 s.
    pub phase_timeout: Duration,
    /// Phases of its own, and what is other in those that are built in.
    pub phases: Vec<PhaseSettings>,
    /// Whether SIGTERM and SIGINT run the phases: yes. Otherwise the node stops at once.
    pub on_signal: bool,
    /// Whether they run when somebody has this node leave the cluster: yes.
    pub on_leaving: bool,
    /// Whether those from `cluster-shutdown` on run when this node was given up or cannot join:
    /// yes. Otherwise it stops at once.
    pub on_downed: bool,
    /// Exit codes instead of [those that reasons have](ShutdownReason::exit_code), by
    /// [label](ShutdownReason::label).
    pub exit_codes: BTreeMap<String, u8>,
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        Self {
            phase_timeout: Duration::from_secs(5),
            phases: Vec::new(),
            on_signal: true,
            on_leaving: true,
            on_downed: true,
            exit_codes: BTreeMap::new(),
        }
    }
}

impl ShutdownSettings {
    /// The phases in their order.
    ///
    /// # Errors
    /// What cannot be.
    pub(crate) fn plan(&self) -> Result<Plan, String> {
        let plan = Plan::new(self.phase_timeout, &self.phases);
        plan.map_err(|error| format!("shutdown.phases: {error}"))
    }

    /// Checks everything, wherever it was set.
    ///
    /// # Errors
    /// What cannot be; it begins with the name of the field.
    pub(crate) fn check(&self) -> Result<(), String> {
        let unknown = |label: &&String| !ShutdownReason::ALL.iter().any(|it| it.label() == **label);
        if let Some(label) = self.exit_codes.keys().find(unknown) {
            return Err(format!("shutdown.exit_codes: {label:?} is no reason"));
        }
        self.plan().map(drop)
    }

    /// The phases as they stand in a file.
    pub(crate) fn phases_text(&self) -> String {
        let texts: Vec<String> = self.phases.iter().map(text_of).collect();
        texts.join("; ")
    }

    /// The exit codes as they stand in a file.
    pub(crate) fn exit_codes_text(&self) -> String {
        let pairs = self.exit_codes.iter();
        let pairs: Vec<String> = pairs
            .map(|(label, code)| format!("{label}={code}"))
            .collect();
        pairs.join(",")
    }

    /// Reads phases.
    ///
    /// # Errors
    /// What is wrong with them, as far as there is more to say than that it is something else.
    pub(crate) fn set_phases(&mut self, text: &str) -> Result<(), String> {
        let parts = text.split(';').filter(|it| !it.trim().is_empty());
        let phases = parts.map(parse).collect::<Result<Vec<_>, _>>()?;
        let plan = Plan::new(self.phase_timeout, &phases);
        plan.map_err(|error| format!(": {error}"))?;
        self.phases = phases;
        Ok(())
    }

    /// Reads exit codes.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn set_exit_codes(&mut self, text: &str) -> Result<(), String> {
        let mut codes = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            let (label, code) = pair.split_once('=').ok_or_else(String::new)?;
            let code = code.parse().map_err(|_| String::new())?;
            codes.insert(label.to_owned(), code);
        }
        let checked = Self {
            exit_codes: codes.clone(),
            ..Self::default()
        };
        checked.check().map_err(|error| format!(": {error}"))?;
        self.exit_codes = codes;
        Ok(())
    }
}

fn text_of(phase: &PhaseSettings) -> String {
    let mut text = phase.name.clone();
    let mut add = |key: &str, value: &str| {
        // Writing to a `String` does not fail.
        let _ = write!(text, " {key}={value}");
    };
    if !phase.after.is_empty() {
        add("after", &phase.after.join(","));
    }
    if !phase.before.is_empty() {
        add("before", &phase.before.join(","));
    }
    if let Some(timeout) = phase.timeout {
        add("timeout_ms", &timeout.as_millis().to_string());
    }
    let on_off = |is_on| if is_on { "on" } else { "off" };
    if let Some(recover) = phase.recover {
        add("recover", on_off(recover));
    }
    if let Some(enabled) = phase.enabled {
        add("enabled", on_off(enabled));
    }
    text
}

fn parse(text: &str) -> Result<PhaseSettings, String> {
    let mut words = text.split_whitespace();
    let mut phase = PhaseSettings {
        name: words.next().ok_or_else(String::new)?.to_owned(),
        ..PhaseSettings::default()
    };
    let list = |it: &str| it.split(',').map(str::to_owned).collect();
    let is_on = |it| match it {
        "on" => Ok(Some(true)),
        "off" => Ok(Some(false)),
        _ => Err(String::new()),
    };
    for word in words {
        match word.split_once('=').ok_or_else(String::new)? {
            ("after", it) if phase.after.is_empty() => phase.after = list(it),
            ("before", it) if phase.before.is_empty() => phase.before = list(it),
            ("timeout_ms", it) if phase.timeout.is_none() => {
                let millis = it.parse().map_err(|_| String::new())?;
                phase.timeout = Some(Duration::from_millis(millis));
            }
            ("recover", it) if phase.recover.is_none() => phase.recover = is_on(it)?,
            ("enabled", it) if phase.enabled.is_none() => phase.enabled = is_on(it)?,
            _ => return Err(String::new()),
        }
    }
    Ok(phase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_again() {
        let text = "flush after=service-stop,service-unbind before=cluster-leave timeout_ms=20000 \
                    recover=off; cluster-exiting enabled=off";
        let mut settings = ShutdownSettings::default();
        settings.set_phases(text).expect("phases");
        assert_eq!(settings.phases_text(), text);
        assert_eq!(settings.phases[0].after, ["service-stop", "service-unbind"]);
        settings
            .set_exit_codes(" downed=7, signal=130")
            .expect("codes");
        assert_eq!(settings.exit_codes_text(), "downed=7,signal=130");
        assert_eq!(settings.check(), Ok(()));
        settings.set_phases("").expect("none");
        assert_eq!(settings.phases, []);
    }

    #[test]
    fn nothing_else_is_read() {
        let mut settings = ShutdownSettings::default();
        for text in [
            "a b",
            "a after=b",
            "a after=",
            "a timeout_ms=x",
            "a timeout_ms=0",
            "a timeout_ms=5 timeout_ms=5",
            "a recover=yes",
            "a after=a",
            "a colour=red",
            "a; after=b",
        ] {
            assert!(settings.set_phases(text).is_err(), "{text}");
        }
        for text in ["downed", "downed=x", "downed=256", "sunny=3"] {
            assert!(settings.set_exit_codes(text).is_err(), "{text}");
        }
        assert_eq!(settings, ShutdownSettings::default());
    }
}
