//! What the program says on its standard output: one fact per line, as text or as JSON.

use std::time::Duration;

use ringmesh_sim::{Canary, Class, Tally, Violation};
use serde_json::{Value, json};

/// What is said, and how.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) lines: String,
}

impl Output {
    fn say(&mut self, text: &str, object: &Value) {
        match self.json {
            true => self.lines += &object.to_string(),
            false => self.lines += text,
        }
        self.lines.push('\n');
    }

    /// Names what there is.
    pub(crate) fn list(&mut self) {
        for class in Class::ALL {
            self.say(&format!("fault {class}"), &json!({"fault": class.label()}));
        }
        for canary in Canary::ALL.map(Canary::label) {
            self.say(&format!("canary {canary}"), &json!({"canary": canary}));
        }
    }

    /// Something is broken.
    pub(crate) fn violation(&mut self, seed: u64, violation: &Violation, replay: &str) {
        let Violation {
            invariant,
            at,
            message,
        } = violation;
        let at_ms = at.as_nanos() / 1_000_000;
        let text = format!(
            "violation seed={seed} invariant={invariant} at_ms={at_ms} message={message:?}\n\
             replay: {replay}"
        );
        let object = json!({
            "violation": invariant, "seed": seed, "at_ms": at_ms, "message": message,
            "replay": replay,
        });
        self.say(&text, &object);
    }

    /// What faults took effect, and what was checked.
    pub(crate) fn coverage(&mut self, tally: &Tally) {
        let all = tally.seeds().max(1);
        let classes = tally.classes().map(|(class, found)| (class.label(), found));
        for (name, found) in classes.chain(tally.data_centres()) {
            let (injected, seeds) = (found.injected, found.seeds);
            let share = seeds as f64 / all as f64;
            let text = format!("fault {name} injected={injected} seeds={seeds} share={share:.3}");
            let object =
                json!({"fault": name, "injected": injected, "seeds": seeds, "share": share});
            self.say(&text, &object);
        }
        let used = tally.used().max(1);
        for (name, found) in tally.exercises() {
            let (count, seeds) = (found.injected, found.seeds);
            let share = seeds as f64 / used as f64;
            let text = format!("exercise {name} count={count} seeds={seeds} share={share:.3}");
            let object = json!({"exercise": name, "count": count, "seeds": seeds, "share": share});
            self.say(&text, &object);
        }
        for (name, checks, violations) in tally.checks() {
            let text = format!("invariant {name} checks={checks} violations={violations}");
            let object = json!({"invariant": name, "checks": checks, "violations": violations});
            self.say(&text, &object);
        }
        for (strategy, [kept, downed_self, down_all]) in tally.outcomes().iter() {
            let text = format!(
                "strategy {strategy} kept={kept} downed_self={downed_self} down_all={down_all}"
            );
            let object = json!({
                "strategy": strategy, "kept": kept, "downed_self": downed_self,
                "down_all": down_all,
            });
            self.say(&text, &object);
        }
    }

    /// The last line.
    pub(crate) fn verdict(&mut self, tally: &Tally, passed: bool, took: Duration) {
        let verdict = if passed { "pass" } else { "fail" };
        let (fewest, median) = tally.faults();
        let (seeds, violations, hash) = (tally.seeds(), tally.violations(), tally.hash());
        let seconds = took.as_secs_f64();
        let text = format!(
            "verdict {verdict} seeds={seeds} violations={violations} faults_min={fewest} \
             faults_median={median} hash={hash:016x} seconds={seconds:.1}"
        );
        let object = json!({
            "verdict": verdict, "seeds": seeds, "violations": violations, "faults_min": fewest,
            "faults_median": median, "hash": format!("{hash:016x}"), "seconds": seconds,
        });
        self.say(&text, &object);
    }
}
