//! Settings that contradict each other.

use ringmesh_proto::limits::{SLAB_BYTES, window_bytes_min};

use super::Settings;
use super::key::Key;
use super::problem::{ConfigurationError, SettingSource};
use super::table::KEYS;

/// A rule between two settings.
struct Rule {
    /// The keys, the one to change first in front.
    keys: [(&'static str, &'static str); 2],
    /// What is wrong and what to do, if the rule is broken.
    broken: fn(&Settings) -> Option<String>,
}

const RULES: [Rule; 7] = [
    Rule {
        keys: [("link", "window_bytes"), ("link", "frame_bytes_max")],
        broken: |settings| {
            let (window, frame) = (settings.window_bytes, settings.frame_bytes_max);
            let least = window_bytes_min(frame);
            (window < least).then(|| {
                format!(
                    "a window of {window} bytes is less than the largest frame of {frame} and a \
                     slab of {SLAB_BYTES}: set link.window_bytes to {least} at least, or lower \
                     link.frame_bytes_max"
                )
            })
        },
    },
    Rule {
        keys: [("core", "outgoing_bytes_max"), ("link", "window_bytes")],
        broken: |settings| {
            let (outgoing, window) = (settings.outgoing_bytes_max, settings.window_bytes);
            let least = 2 * window as usize;
            (outgoing < least).then(|| {
                format!(
                    "{outgoing} bytes for outgoing messages are less than two windows of {window}: \
                     set core.outgoing_bytes_max to {least} at least, or lower link.window_bytes"
                )
            })
        },
    },
    Rule {
        keys: [("large", "window_bytes"), ("large", "frame_bytes_max")],
        broken: |settings| {
            let (window, frame) = (settings.large_window_bytes, settings.large_frame_bytes_max);
            let least = window_bytes_min(frame);
            (window < least).then(|| {
                format!(
                    "a window of {window} bytes is less than the largest frame of {frame} and a \
                     slab of {SLAB_BYTES}: set large.window_bytes to {least} at least, or lower \
                     large.frame_bytes_max"
                )
            })
        },
    },
    Rule {
        keys: [("large", "outgoing_bytes_max"), ("large", "window_bytes")],
        broken: |settings| {
            let (outgoing, window) = (
                settings.large_outgoing_bytes_max,
                settings.large_window_bytes,
            );
            let least = 2 * window as usize;
            (outgoing < least).then(|| {
                format!(
                    "{outgoing} bytes for outgoing messages are less than two windows of {window}: \
                     set large.outgoing_bytes_max to {least} at least, or lower large.window_bytes"
                )
            })
        },
    },
    Rule {
        keys: [("actor", "mailbox_bytes_max"), ("link", "frame_bytes_max")],
        broken: |settings| {
            let (mailbox, frame) = (settings.mailbox_bytes_max, settings.frame_bytes_max);
            (mailbox < frame as usize).then(|| {
                format!(
                    "a mailbox of {mailbox} bytes never holds the largest frame of {frame}: set \
                     actor.mailbox_bytes_max to {frame} at least, or lower link.frame_bytes_max"
                )
            })
        },
    },
    Rule {
        keys: [("core", "cpus"), ("core", "count")],
        broken: |settings| {
            let (cpus, cores) = (settings.cpus.len(), settings.cores);
            (cpus != 0 && cpus != cores).then(|| {
                format!(
                    "CPUs are listed for {cpus} of {cores} cores: list as many in core.cpus as \
                     core.count says, or none"
                )
            })
        },
    },
    Rule {
        keys: [("core", "reserve_control_core"), ("core", "count")],
        broken: |settings| {
            (settings.reserve_control_core && settings.cores == 1).then(|| {
                "the one core is reserved, so no actor could live on the node: set core.count to 2 \
                 at least, or core.reserve_control_core to \"off\""
                    .to_owned()
            })
        },
    },
];

/// Checks that no setting contradicts another. Blamed is the first of the two that was set.
pub(super) fn check(settings: &Settings) -> Result<(), ConfigurationError> {
    for rule in &RULES {
        let Some(problem) = (rule.broken)(settings) else {
            continue;
        };
        let numbers = rule
            .keys
            .map(|(section, name)| Key::find(section, name).expect("rules name keys of the table"));
        let set = |number: &&usize| settings.source(**number) != SettingSource::Default;
        let blamed = *numbers.iter().find(set).unwrap_or(&numbers[0]);
        return Err(ConfigurationError::new(
            Some(KEYS[blamed].path()),
            settings.source(blamed),
            problem,
        ));
    }
    Ok(())
}
