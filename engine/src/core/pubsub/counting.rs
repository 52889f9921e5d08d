//! What the machine of pub-sub counts, brought to where the other counts of the core are.

use super::super::{CONTROL_CORE, Core};

impl Core {
    pub(in super::super) fn publish_pubsub_counters(&self) {
        let tally = &self.tally;
        if let Some(mediator) = self.pubsub.mediator.borrow_mut().as_mut() {
            let counted = mediator.counters();
            tally.published_unreached.set(counted.unreached);
            tally.published_over_groups.set(counted.over);
            tally.published_groups_empty.set(counted.dead_groups);
            tally.published_groups_passed_on.set(counted.forwarded);
            if self.id == CONTROL_CORE {
                let skipped = mediator.topics().skipped();
                tally.announcements_skipped.set(skipped);
            }
            let counted = mediator.interests().counters();
            tally.published_other_type.set(counted.other_type);
            let of_actors = self.pubsub.actors.refused.get();
            tally.subscriptions_refused.set(counted.refused + of_actors);
        }
        let unwanted = self.pubsub.answers.unwanted();
        tally.publish_answers_late.set(unwanted);
    }
}
