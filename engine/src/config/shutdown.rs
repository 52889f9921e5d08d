//! The keys of the node's shutdown.

use super::key::{Key, Kind};
use super::kinds::{HOUR_MS, MS, from_to, switch, time};

pub(super) const PHASE_TIMEOUT: Key = Key {
    section: "shutdown",
    name: "phase_timeout_ms",
    meaning: "How long each phase of the shutdown may take that has no time of its own.",
    too_small: "tasks are cut short, and the node is removed after it has gone.",
    too_large: "a task that hangs holds the shutdown for as long.",
    kind: time!(
        shutdown.phase_timeout,
        "milliseconds",
        MS,
        from_to(1, HOUR_MS)
    ),
};

pub(super) const PHASES: Key = Key {
    section: "shutdown",
    name: "phases",
    meaning: "Phases of the program's own, and what is other in those that are built in: a name, \
              and behind it perhaps \"after=NAME,NAME\", \"before=NAME,NAME\", \"timeout_ms=N\", \
              \"recover=off\" (a failure ends the shutdown, and the node goes on) and \
              \"enabled=off\" (its tasks do not run), with semicolons between phases.",
    too_small: "empty: the phases that are built in, as they are.",
    too_large: "more than 64 phases, those that are built in among them, are refused.",
    kind: Kind::Text {
        form: "empty, or phases such as \"drain after=service-unbind before=service-stop \
               timeout_ms=20000; cluster-exiting timeout_ms=30000\"",
        get: |settings| settings.shutdown.phases_text(),
        set: |settings, text| settings.shutdown.set_phases(text),
    },
};

pub(super) const ON_SIGNAL: Key = Key {
    section: "shutdown",
    name: "on_signal",
    meaning: "Whether SIGTERM and SIGINT run the phases: \"on\" or \"off\".",
    too_small: "off, the node stops at once, and its cluster finds it gone.",
    too_large: "on, it takes as long as the phases do; a second signal ends it at once.",
    kind: switch!(shutdown.on_signal),
};

pub(super) const ON_LEAVING: Key = Key {
    section: "shutdown",
    name: "on_leaving",
    meaning: "Whether the phases run when the node leaves its cluster by the word of another \
              member or its own: \"on\" or \"off\".",
    too_small: "off, nothing waits for what it did for others, and it stops when it has left.",
    too_large: "on, it leaves when the phases have come to that.",
    kind: switch!(shutdown.on_leaving),
};

pub(super) const ON_DOWNED: Key = Key {
    section: "shutdown",
    name: "on_downed",
    meaning: "Whether the phases from \"cluster-shutdown\" on run when the node was given up or \
              cannot join: \"on\" or \"off\".",
    too_small: "off, it stops at once.",
    too_large: "on, its tasks run after others have taken over what it did.",
    kind: switch!(shutdown.on_downed),
};

pub(super) const EXIT_CODES: Key = Key {
    section: "shutdown",
    name: "exit_codes",
    meaning: "Exit codes of programs that ask the shutdown for theirs, instead of 0 for \"asked\", \
              \"signal\" and \"leaving\", 3 for \"downed\", 4 for \"join-failed\" and \
              \"incompatible\".",
    too_small: "empty: those.",
    too_large: "a code above 255 is refused.",
    kind: Kind::Text {
        form: "empty, or pairs with commas between such as \"downed=70,signal=143\"",
        get: |settings| settings.shutdown.exit_codes_text(),
        set: |settings, text| settings.shutdown.set_exit_codes(text),
    },
};
