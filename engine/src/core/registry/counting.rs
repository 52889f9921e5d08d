//! What the registry of a member counts, brought to where the other counts of the core are.

use ringmesh_cluster::registry::RegistryCounters;

use super::super::{CONTROL_CORE, Core};
use crate::counters::Tally;

impl Core {
    pub(in super::super) fn publish_registry_counters(&self) {
        // A node that takes part in no cluster hears of nobody.
        if self.id == CONTROL_CORE
            && let Some(counted) = self.cluster.registry_counters()
        {
            show(&self.tally, counted);
        }
    }
}

/// What is `unwanted` and what comes behind `gaps` is not shown: that is how what was lost, or came
/// twice, is made good.
fn show(tally: &Tally, counted: RegistryCounters) {
    tally.registry_misdirected.set(counted.misdirected);
    tally.registry_strangers.set(counted.strangers);
    tally.registry_ahead.set(counted.ahead);
    tally.registry_over.set(counted.over);
    tally.registry_astray.set(counted.astray);
    tally.registry_wayless.set(counted.wayless);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_count_of_what_went_wrong_is_shown_under_its_name() {
        let tally = Tally::default();
        let counted = RegistryCounters {
            misdirected: 1,
            strangers: 2,
            ahead: 3,
            unwanted: 400,
            over: 5,
            gaps: 600,
            astray: 7,
            wayless: 8,
        };
        show(&tally, counted);
        let shown = tally.read();
        let shown = shown.iter().filter(|it| it.0.starts_with("registry_"));
        let expected = [
            ("registry_misdirected", 1),
            ("registry_strangers", 2),
            ("registry_ahead", 3),
            ("registry_over", 5),
            ("registry_astray", 7),
            ("registry_wayless", 8),
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }
}
