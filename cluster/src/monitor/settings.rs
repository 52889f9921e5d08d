//! How closely members watch each other.

use std::time::Duration;

use super::FarSettings;
use crate::detector::{Judge, Patience};
use crate::membership::settings::{
    LEAST, SettingsError, check_fraction, check_number, check_time, check_time_within,
};

/// The most answers that are remembered of a member.
const SAMPLES_MAX: usize = 100_000;

/// Above this phi is not told from endless.
const PHI_MAX: f64 = 300.0;

/// Below this every silence is a doubt; and far below it phi is not told from none, so nobody could
/// say when it is reached.
const DOUBT_MIN: f64 = 0.01;

/// How closely a member watches others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MonitorSettings {
    /// The time between two heartbeats. Less notices the end of a node sooner and costs traffic; it
    /// is also how late a turn may be before a node takes itself for stalled.
    pub interval: Duration,
    /// Who judges a silence. Its interval should be that of the heartbeats.
    pub judge: Judge,
    /// From this suspicion on, on the scale of the detector, others are asked whether they hear the
    /// member: 0.01 at least. At the threshold of the detector or above nobody is asked in time.
    pub doubt: f64,
    /// How long an accusation waits for what the others say. It never waits for longer.
    pub testimony_wait: Duration,
    /// The same between data centres.
    pub far: FarSettings,
}

impl Default for MonitorSettings {
    /// A heartbeat a second, phi 8 with a pause of 3 seconds over the last 1,000 answers, and
    /// questions at phi 3, answered within half a second.
    ///
    /// So a node that stops is noticed 4.8 s after its last answer where those came regularly, and
    /// 5.8 s after it where they did not: 3.8 to 5.8 s after it stopped.
    fn default() -> Self {
        let interval = Duration::from_secs(1);
        Self {
            interval,
            judge: Judge::Phi(Patience {
                threshold: 8.0,
                pause: Duration::from_secs(3),
                samples: 1000,
                deviation_min: Duration::from_millis(150),
                deviation_max: Duration::from_millis(350),
                ..Patience::every(interval)
            }),
            doubt: 3.0,
            testimony_wait: Duration::from_millis(500),
            far: FarSettings::default(),
        }
    }
}

impl MonitorSettings {
    /// Checks them.
    ///
    /// # Errors
    /// [`SettingsError`] names the first that cannot be.
    pub fn check(&self) -> Result<(), SettingsError> {
        check_time(("monitor.interval", self.interval), LEAST)?;
        check_time(
            ("monitor.testimony_wait", self.testimony_wait),
            Duration::ZERO,
        )?;
        check_fraction("monitor.doubt", self.doubt, (DOUBT_MIN, PHI_MAX))?;
        self.far.check()?;
        match self.judge {
            Judge::Deadline { silence } => check_time(("monitor.judge.silence", silence), LEAST),
            Judge::Phi(patience) => {
                let Patience {
                    threshold,
                    pause,
                    interval,
                    samples,
                    deviation_min,
                    deviation_max,
                } = patience;
                check_fraction("monitor.judge.threshold", threshold, (1.0, PHI_MAX))?;
                check_time(("monitor.judge.pause", pause), Duration::ZERO)?;
                check_time(("monitor.judge.interval", interval), LEAST)?;
                check_number("monitor.judge.samples", samples, SAMPLES_MAX)?;
                check_time(("monitor.judge.deviation_min", deviation_min), LEAST)?;
                let most = ("monitor.judge.deviation_max", deviation_max);
                check_time_within(most, (deviation_min, Duration::MAX))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(change: impl FnOnce(&mut MonitorSettings)) -> String {
        let mut settings = MonitorSettings::default();
        assert_eq!(settings.check(), Ok(()));
        change(&mut settings);
        settings.check().expect_err("it cannot be").to_string()
    }

    fn of_phi(change: impl FnOnce(&mut Patience)) -> String {
        problem(|settings| {
            let Judge::Phi(patience) = &mut settings.judge else {
                panic!("the default judges by phi");
            };
            change(patience);
        })
    }

    #[test]
    fn what_is_out_of_range_is_named_with_its_range() {
        let problems = [
            problem(|it| it.interval = Duration::ZERO),
            problem(|it| it.testimony_wait = Duration::from_secs(3601)),
            problem(|it| it.doubt = f64::NAN),
            problem(|it| it.doubt = 0.009),
            problem(|it| {
                it.judge = Judge::Deadline {
                    silence: Duration::ZERO,
                }
            }),
            of_phi(|it| it.threshold = f64::INFINITY),
            of_phi(|it| it.samples = SAMPLES_MAX + 1),
            of_phi(|it| it.deviation_min = Duration::ZERO),
        ];
        let begins = [
            "monitor.interval is 0ns",
            "monitor.testimony_wait is 3601s",
            "monitor.doubt is NaN, and may be from 0.01 to 300",
            "monitor.doubt is 0.009, and may be from 0.01 to 300",
            "monitor.judge.silence is 0ns",
            "monitor.judge.threshold is inf",
            "monitor.judge.samples is 100001, and may be from 1 to 100000",
            "monitor.judge.deviation_min is 0ns",
        ];
        for (problem, begin) in problems.iter().zip(begins) {
            assert!(problem.starts_with(begin), "{problem}");
        }
    }
}
