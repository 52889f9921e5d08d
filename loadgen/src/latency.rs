//! Latency histograms: recorded in one process, carried to another as text, merged and written.

use std::io::{self, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use serde::{Deserialize, Serialize};

use crate::median::median;

/// Decimal digits a recorded value keeps.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Longer latencies count as this long.
const LATENCY_MAX: Duration = Duration::from_secs(60);

/// Rows of the percentile text per halving of the distance to 100 %.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// Latencies in nanoseconds, 1 ns to 60 s, to 3 decimal digits. Recording allocates nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
}

/// The figures a report shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Percentiles {
    /// Half were faster.
    pub(crate) p50_ns: u64,
    /// 9 in 10 were faster.
    pub(crate) p90_ns: u64,
    /// 99 in 100 were faster.
    pub(crate) p99_ns: u64,
    /// 999 in 1,000 were faster.
    pub(crate) p999_ns: u64,
    /// The slowest.
    pub(crate) max_ns: u64,
}

/// A histogram as it crosses a process boundary: the V2 encoding of HdrHistogram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded(Vec<u8>);

impl Recorded {
    /// The encoding that [`Recorded::into_bytes`] gave in another process; checked when it is read.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The encoding.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Bytes that are not an encoded histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer's latency histogram cannot be read")]
pub(crate) struct UnreadableLatencies;

impl Latencies {
    /// Nothing recorded yet.
    ///
    /// # Panics
    /// Never: the bounds are constants the histogram accepts.
    pub(crate) fn new() -> Self {
        let longest = LATENCY_MAX.as_nanos() as u64;
        let histogram = Histogram::new_with_bounds(1, longest, SIGNIFICANT_DIGITS)
            .expect("1 ns to 60 s to 3 digits is a valid histogram");
        Self { histogram }
    }

    /// Records one latency.
    #[inline]
    pub(crate) fn record(&mut self, latency: Duration) {
        self.histogram.saturating_record(latency.as_nanos() as u64);
    }

    /// How many were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Forgets everything, without giving memory back.
    pub(crate) fn clear(&mut self) {
        self.histogram.reset();
    }

    /// Takes over what `other` recorded.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.histogram += &other.histogram;
    }

    /// The figures of a report; `None` when nothing was recorded.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        let at = |quantile| self.histogram.value_at_quantile(quantile);
        (!self.histogram.is_empty()).then(|| Percentiles {
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: self.histogram.max(),
        })
    }

    /// The encoding that crosses to another process.
    ///
    /// # Panics
    /// Never: writing to memory does not fail.
    pub(crate) fn to_recorded(&self) -> Recorded {
        let mut bytes = Vec::new();
        V2Serializer::new()
            .serialize(&self.histogram, &mut bytes)
            .expect("a histogram encodes into memory");
        Recorded(bytes)
    }

    /// Writes the percentile distribution as HdrHistogram's text (`.hgrm`), values in microseconds.
    ///
    /// # Errors
    /// The error of `target`.
    pub(crate) fn write_hgrm(&self, target: &mut impl Write) -> io::Result<()> {
        writeln!(
            target,
            "{:>12} {:>14} {:>10} {:>14}\n",
            "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
        )?;
        let mut total = 0;
        for step in self.histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
            total += step.count_since_last_iteration();
            let percentile = step.quantile_iterated_to();
            let value_us = step.value_iterated_to() as f64 / 1e3;
            write!(target, "{value_us:>12.3} {percentile:>2.12} {total:>10}")?;
            if percentile < 1.0 {
                writeln!(target, " {:>14.2}", 1.0 / (1.0 - percentile))?;
            } else {
                writeln!(target)?;
            }
        }
        self.write_hgrm_footer(target)
    }

    fn write_hgrm_footer(&self, target: &mut impl Write) -> io::Result<()> {
        let microseconds = |nanoseconds: f64| nanoseconds / 1e3;
        writeln!(
            target,
            "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]",
            microseconds(self.histogram.mean()),
            microseconds(self.histogram.stdev()),
        )?;
        writeln!(
            target,
            "#[Max     = {:>12.3}, Total count    = {:>12}]",
            microseconds(self.histogram.max() as f64),
            self.histogram.len(),
        )?;
        writeln!(
            target,
            "#[Buckets = {:>12}, SubBuckets     = {:>12}]",
            self.histogram.buckets(),
            (2 * 10_u32.pow(u32::from(SIGNIFICANT_DIGITS))).next_power_of_two(),
        )
    }
}

impl Percentiles {
    /// Each figure the median of its kind, the maximum the slowest of all; `None` of nothing.
    pub(crate) fn median_of(rounds: &[Self]) -> Option<Self> {
        let middle = |figure: fn(&Self) -> u64| {
            median(rounds.iter().map(|round| figure(round) as f64)).map(|ns| ns.round() as u64)
        };
        Some(Self {
            p50_ns: middle(|round| round.p50_ns)?,
            p90_ns: middle(|round| round.p90_ns)?,
            p99_ns: middle(|round| round.p99_ns)?,
            p999_ns: middle(|round| round.p999_ns)?,
            max_ns: rounds.iter().map(|round| round.max_ns).max()?,
        })
    }
}

impl TryFrom<&Recorded> for Latencies {
    type Error = UnreadableLatencies;

    fn try_from(recorded: &Recorded) -> Result<Self, UnreadableLatencies> {
        let histogram: Histogram<u64> = Deserializer::new()
            .deserialize(&mut recorded.0.as_slice())
            .map_err(|_| UnreadableLatencies)?;
        let mut latencies = Self::new();
        latencies
            .histogram
            .add(histogram)
            .map_err(|_| UnreadableLatencies)?;
        Ok(latencies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_to_thousand_us() -> Latencies {
        let mut latencies = Latencies::new();
        for us in 1..=1000 {
            latencies.record(Duration::from_micros(us));
        }
        latencies
    }

    /// Equal to the 3 digits a histogram keeps.
    fn assert_near(actual_ns: u64, expected_us: u64) {
        let expected_ns = expected_us * 1000;
        let off = actual_ns.abs_diff(expected_ns);
        assert!(
            off * 1000 <= expected_ns,
            "{actual_ns} ns is not {expected_us} us"
        );
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let figures = one_to_thousand_us().percentiles().unwrap();
        assert_near(figures.p50_ns, 500);
        assert_near(figures.p90_ns, 900);
        assert_near(figures.p99_ns, 990);
        assert_near(figures.p999_ns, 999);
        assert_near(figures.max_ns, 1000);
    }

    #[test]
    fn nothing_recorded_has_no_percentiles() {
        assert_eq!(Latencies::new().percentiles(), None);
    }

    #[test]
    fn rounds_give_medians_and_the_slowest_of_all() {
        let round = |us: u64| Percentiles {
            p50_ns: us,
            p90_ns: us + 1,
            p99_ns: us + 2,
            p999_ns: us + 3,
            max_ns: us + 4,
        };
        let middle = Percentiles::median_of(&[round(30), round(10), round(20)]).unwrap();
        assert_eq!(
            middle,
            Percentiles {
                max_ns: 34,
                ..round(20)
            }
        );
        assert_eq!(Percentiles::median_of(&[]), None);
    }

    #[test]
    fn a_latency_beyond_the_range_is_counted_at_its_end() {
        let mut latencies = Latencies::new();
        latencies.record(LATENCY_MAX * 2);
        assert_eq!(latencies.count(), 1);
        assert_near(
            latencies.percentiles().unwrap().max_ns,
            LATENCY_MAX.as_micros() as u64,
        );
    }

    #[test]
    fn merged_rounds_count_everything_and_survive_the_crossing() {
        let mut merged = one_to_thousand_us();
        let crossed = Latencies::try_from(&merged.to_recorded()).unwrap();
        assert_eq!(crossed, merged);
        merged.merge(&crossed);
        assert_eq!(merged.count(), 2000);
        assert_eq!(merged.percentiles(), crossed.percentiles());
        merged.clear();
        assert_eq!(merged, Latencies::new());
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let mut recorded = one_to_thousand_us().to_recorded();
        recorded.0.truncate(20);
        assert_eq!(Latencies::try_from(&recorded), Err(UnreadableLatencies));
    }

    #[test]
    fn the_percentile_text_is_the_format_of_hdr_tools() {
        let mut text = Vec::new();
        one_to_thousand_us().write_hgrm(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(
            rows[0].split_whitespace().collect::<Vec<_>>(),
            ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"],
        );
        assert!(rows[1].is_empty());
        let data: Vec<Vec<f64>> = rows[2..]
            .iter()
            .filter(|row| !row.starts_with('#'))
            .map(|row| {
                row.split_whitespace()
                    .map(|cell| cell.parse().unwrap())
                    .collect()
            })
            .collect();
        assert!(
            data.windows(2)
                .all(|pair| pair[0][0] <= pair[1][0] && pair[0][2] <= pair[1][2])
        );
        let last = data.last().unwrap();
        assert_eq!((last[1], last[2], last.len()), (1.0, 1000.0, 3));
        assert_eq!(rows.iter().filter(|row| row.starts_with("#[")).count(), 3);
    }
}
