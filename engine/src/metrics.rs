//! What all cores of a node count, read from any thread.
//!
//! Each core writes a page of its own, in cache lines of its own, and never waits for who reads it.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use crate::counters::{Count, Counters, Tally};

/// Names that [`LabelCounts`] has room for. The reasons of closes are a closed list and far fewer.
const LABELS_MAX: usize = 128;

/// What the cores of a node had counted at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// What each core counted, in the order of their numbers. Empty before the node starts.
    pub cores: Vec<Counters>,
    /// All of them together. A message from core to core is sent on one and received on the other.
    pub total: Counters,
    /// How often each core closed connections, by the reason's name.
    pub close_reasons: Vec<BTreeMap<&'static str, u64>>,
}

/// Reads what the cores of one node count, from any thread, while the node runs and after.
///
/// Reading takes no lock, asks nothing of the cores, and needs none of their time: a core whose
/// handler blocks is read like any other. See [`Counters`] for what holds of a core that runs.
#[derive(Clone, Debug, Default)]
pub struct MetricsReader {
    /// Empty before the node starts.
    pages: Arc<OnceLock<Arc<Pages>>>,
}

impl MetricsReader {
    /// The reader of a node whose pages are these.
    pub(crate) fn of(pages: &Arc<Pages>) -> Self {
        let reader = Self::default();
        reader.begin(pages);
        reader
    }

    /// The node starts, with these pages. A reader belongs to one node.
    pub(crate) fn begin(&self, pages: &Arc<Pages>) {
        // A builder runs once: it is moved into `run`, and its clones have readers of their own.
        let _ = self.pages.set(Arc::clone(pages));
    }

    /// What was counted so far.
    pub fn metrics(&self) -> Metrics {
        let Some(pages) = self.pages.get() else {
            return Metrics::default();
        };
        let cores: Vec<Counters> = pages.0.iter().map(|page| page.tally.read()).collect();
        Metrics {
            total: cores.iter().copied().sum(),
            cores,
            close_reasons: pages.0.iter().map(|page| page.closes.all()).collect(),
        }
    }
}

/// The pages of a node's cores, by core.
#[derive(Debug)]
pub(crate) struct Pages(Box<[Arc<Page>]>);

impl Pages {
    pub(crate) fn new(cores: usize) -> Self {
        Self((0..cores).map(|_| Arc::default()).collect())
    }

    /// The page that core number `core` writes, and nobody else.
    pub(crate) fn of_core(&self, core: usize) -> Arc<Page> {
        Arc::clone(&self.0[core])
    }

    /// How often a core has turned, the turn that it is in included.
    pub(crate) fn turns_of(&self, core: usize) -> u64 {
        self.0[core].turns.total()
    }
}

/// What one core counts. It shares no cache line with another, nor with what is fetched beside one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Page {
    tally: Tally,
    /// How often connections were closed, by reason.
    pub(crate) closes: LabelCounts,
}

impl Deref for Page {
    type Target = Tally;

    #[inline]
    fn deref(&self) -> &Tally {
        &self.tally
    }
}

/// Counts by name, of names that are a closed list. Written by one thread, read by any.
#[derive(Debug)]
pub(crate) struct LabelCounts {
    /// In the order in which the names first came up; the last takes what finds no room.
    entries: Box<[LabelCount]>,
}

#[derive(Debug, Default)]
struct LabelCount {
    label: OnceLock<&'static str>,
    count: Count,
}

impl Default for LabelCounts {
    fn default() -> Self {
        Self {
            entries: (0..LABELS_MAX).map(|_| LabelCount::default()).collect(),
        }
    }
}

impl LabelCounts {
    /// Counts one more of that name.
    #[cold]
    pub(crate) fn count(&self, label: &'static str) {
        let (last, others) = self.entries.split_last().expect("LABELS_MAX is not 0");
        let is_its = |entry: &&LabelCount| *entry.label.get_or_init(|| label) == label;
        let entry = others.iter().find(is_its).unwrap_or_else(|| {
            last.label.get_or_init(|| "other");
            last
        });
        entry.count.add(1);
    }

    /// All names that came up, with their counts.
    pub(crate) fn all(&self) -> BTreeMap<&'static str, u64> {
        let named = |entry: &LabelCount| Some((*entry.label.get()?, entry.count.total()));
        let counted = self.entries.iter().filter_map(named);
        counted.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn one_over_the_labels_there_is_room_for_is_counted_as_another() {
        let counts = LabelCounts::default();
        let label = |number: usize| &*Box::leak(number.to_string().into_boxed_str());
        let labels: Vec<&str> = (0..=LABELS_MAX).map(label).collect();
        for label in labels.iter().chain(&labels) {
            counts.count(label);
        }
        let all = counts.all();
        assert_eq!(all.len(), LABELS_MAX);
        assert_eq!((all["0"], all["126"], all["other"]), (2, 2, 4));
    }

    #[test]
    fn a_reader_is_empty_until_its_node_starts_and_keeps_its_first() {
        let reader = MetricsReader::default();
        let other = reader.clone();
        assert_eq!(reader.metrics(), Metrics::default());
        let pages = Arc::new(Pages::new(2));
        reader.begin(&pages);
        reader.begin(&Arc::new(Pages::new(3)));
        pages.of_core(1).sent.add(5);
        pages.of_core(0).sent.add(2);
        pages.of_core(1).closes.count("bye");
        let metrics = other.metrics();
        assert_eq!((metrics.cores[1].sent, metrics.total.sent), (5, 7));
        assert_eq!(metrics.total.in_flight, 7);
        assert_eq!(metrics.close_reasons[0], BTreeMap::new());
        assert_eq!(metrics.close_reasons[1], BTreeMap::from([("bye", 1)]));
    }

    #[test]
    fn parts_never_exceed_their_whole_while_a_core_counts() {
        let pages = Arc::new(Pages::new(1));
        let (reader, page) = (MetricsReader::of(&pages), pages.of_core(0));
        let enough = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    page.sent.add(1);
                    page.received.add(2);
                    page.waiting.add(2);
                    page.waiting.take(1);
                    page.delivered.add(1);
                    page.waiting.take(1);
                    page.dead_no_recipient.add(1);
                    page.acknowledged.add(1);
                }
            });
            let mut before = Counters::default();
            for _ in 0..100_000 {
                // The sums would overflow if a part were ahead of its whole.
                let now = reader.metrics().total;
                assert!(now.received >= now.delivered + now.dead_received + now.waiting);
                assert!(now.received >= before.received && now.delivered >= before.delivered);
                before = now;
            }
            enough.store(true, Ordering::Relaxed);
        });
        let end = reader.metrics().total;
        assert_eq!(end.received, end.delivered + end.dead_received);
        assert_eq!((end.waiting, end.in_flight), (0, 0));
    }

    #[test]
    fn counters_add_up_and_are_named_once_each() {
        let pages = Pages::new(1);
        pages.of_core(0).dead_maybe.add(3);
        pages.of_core(0).sent.add(4);
        let one = pages.of_core(0).read();
        let two: Counters = [one, one].into_iter().sum();
        assert_eq!((two.dead_sent, two.in_flight), (6, 2));
        let named: BTreeMap<&str, u64> = two.iter().collect();
        assert_eq!(named.len(), two.iter().len());
        assert_eq!(
            (named["dead_maybe"], named["sent"], named["turns"]),
            (6, 8, 0)
        );
    }
}
