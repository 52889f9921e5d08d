//! The facts about this machine that a figure cannot be read without, and what is wrong with them.

use std::fs;

use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use crate::placement;

/// Below this much lockable memory the kernel may refuse what a ring registers.
const MEMLOCK_BYTES_MIN: u64 = 8 * 1024 * 1024;

/// Below this many descriptors a test of connections measures the limit.
const NOFILE_MIN: u64 = 4096;

/// A load above this share of the CPUs, before anything was started, is somebody else's.
const LOAD_PER_CPU_MAX: f64 = 0.25;

/// Stolen time above this share is worth a warning.
const STOLEN_SHARE_MAX: f64 = 0.01;

/// Facts about this machine. `None` where the kernel does not say or the fact does not apply.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Host {
    /// Release of the running kernel.
    pub(crate) kernel: Option<String>,
    /// The processor's name for itself.
    pub(crate) cpu_model: Option<String>,
    /// CPUs this process may run on.
    pub(crate) cpus_allowed: usize,
    /// This is a virtual machine.
    pub(crate) virtualised: Option<bool>,
    /// Frequency governor of the first CPU; a virtual machine mostly has none.
    pub(crate) governor: Option<String>,
    /// CPUs the scheduler leaves alone, as the kernel writes them.
    pub(crate) isolated_cpus: Option<String>,
    /// Vulnerabilities the kernel works against, each at some cost per system call.
    pub(crate) mitigations: Vec<String>,
    /// Lockable memory; `None`: no limit.
    pub(crate) memlock_bytes: Option<u64>,
    /// Open descriptors; `None`: no limit.
    pub(crate) nofile: Option<u64>,
    /// Use of transparent huge pages: always, madvise, never.
    pub(crate) thp: Option<String>,
    /// What makes the figures of this machine worse or less certain, in plain words.
    pub(crate) warnings: Vec<String>,
}

impl Host {
    /// Looks at this machine.
    pub(crate) fn inspect() -> Self {
        let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
        let mut host = Self {
            kernel: read("/proc/sys/kernel/osrelease"),
            cpu_model: cpuinfo_field(&cpuinfo, "model name").map(str::to_owned),
            cpus_allowed: placement::allowed_cpus().map_or(0, |cpus| cpus.len()),
            virtualised: cpuinfo_field(&cpuinfo, "flags")
                .map(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor")),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            isolated_cpus: read("/sys/devices/system/cpu/isolated").filter(|cpus| !cpus.is_empty()),
            mitigations: mitigations(),
            memlock_bytes: getrlimit(Resource::Memlock).current,
            nofile: getrlimit(Resource::Nofile).current,
            thp: read("/sys/kernel/mm/transparent_hugepage/enabled")
                .as_deref()
                .and_then(chosen),
            warnings: Vec::new(),
        };
        host.warnings = host.judge(load());
        host
    }

    /// One line for people: processor, CPUs, kernel.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{}, {} {}, Linux {}{}",
            self.cpu_model.as_deref().unwrap_or("unknown processor"),
            self.cpus_allowed,
            if self.cpus_allowed == 1 {
                "CPU"
            } else {
                "CPUs"
            },
            self.kernel.as_deref().unwrap_or("unknown"),
            if self.virtualised == Some(true) {
                ", virtual machine"
            } else {
                ""
            },
        )
    }

    fn judge(&self, load: Option<f64>) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut warn = |holds: bool, text: String| {
            if holds {
                warnings.push(text);
            }
        };
        warn(
            cfg!(debug_assertions),
            "built without --release: these are not the engine's figures".into(),
        );
        warn(
            self.virtualised == Some(true),
            "virtual machine: rates follow the host's mood, ratios less so".into(),
        );
        warn(
            self.cpus_allowed < 2,
            "one CPU: sender and receiver take turns on it".into(),
        );
        warn(
            self.cpus_allowed == 2,
            "two CPUs, both measured: whatever else runs is in the figures".into(),
        );
        warn(
            self.isolated_cpus.is_none(),
            "no isolated CPUs: the scheduler may put others beside the measurement".into(),
        );
        if let Some(governor) = &self.governor {
            warn(
                governor != "performance",
                format!("frequency governor {governor}: the clock rate varies with the load"),
            );
        }
        warn(
            !self.mitigations.is_empty(),
            format!(
                "mitigations on ({}): dearer system calls",
                self.mitigations.join(", ")
            ),
        );
        let cpus = self.cpus_allowed.max(1) as f64;
        let load = load.unwrap_or(0.0);
        warn(
            load > LOAD_PER_CPU_MAX * cpus,
            format!("load {load:.2} at the start: something else is running"),
        );
        warn(
            self.memlock_bytes
                .is_some_and(|bytes| bytes < MEMLOCK_BYTES_MIN),
            "memlock below 8 MiB: the kernel may refuse registered buffers".into(),
        );
        warn(
            self.nofile.is_some_and(|files| files < NOFILE_MIN),
            "fewer than 4096 descriptors: few connections".into(),
        );
        warnings
    }
}

/// CPU time the hypervisor gave to others, from a moment on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StealWatch {
    start: Option<CpuTicks>,
}

impl StealWatch {
    /// Starts to watch.
    pub(crate) fn start() -> Self {
        Self { start: cpu_ticks() }
    }

    /// A warning when more than a hundredth of the CPU time since the start was stolen.
    pub(crate) fn warning(self) -> Option<String> {
        let (start, now) = (self.start?, cpu_ticks()?);
        let all = now.all.saturating_sub(start.all);
        let share = now.stolen.saturating_sub(start.stolen) as f64 / all.max(1) as f64;
        (share > STOLEN_SHARE_MAX).then(|| {
            format!(
                "the hypervisor took {:.1} % of the CPU time away",
                share * 100.0
            )
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct CpuTicks {
    all: u64,
    stolen: u64,
}

fn cpu_ticks() -> Option<CpuTicks> {
    parse_cpu_ticks(&read("/proc/stat")?)
}

fn parse_cpu_ticks(stat: &str) -> Option<CpuTicks> {
    // user nice system idle iowait irq softirq steal; what follows is part of user already.
    let ticks: Vec<u64> = stat
        .lines()
        .find_map(|line| line.strip_prefix("cpu "))?
        .split_whitespace()
        .take(8)
        .map_while(|ticks| ticks.parse().ok())
        .collect();
    Some(CpuTicks {
        all: ticks.iter().sum(),
        stolen: *ticks.get(7)?,
    })
}

fn load() -> Option<f64> {
    read("/proc/loadavg")?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

fn mitigations() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| {
            fs::read_to_string(entry.path()).is_ok_and(|text| text.starts_with("Mitigation"))
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

fn cpuinfo_field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    cpuinfo.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        (field.trim() == name).then_some(value.trim())
    })
}

/// The word in brackets, as sysfs marks a choice.
fn chosen(choices: &str) -> Option<String> {
    let (_, rest) = choices.split_once('[')?;
    rest.split_once(']').map(|(choice, _)| choice.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet_host() -> Host {
        Host {
            kernel: Some("6.18.0".into()),
            cpu_model: Some("Some CPU".into()),
            cpus_allowed: 16,
            virtualised: Some(false),
            governor: Some("performance".into()),
            isolated_cpus: Some("2-15".into()),
            mitigations: Vec::new(),
            memlock_bytes: None,
            nofile: Some(1_048_576),
            thp: Some("madvise".into()),
            warnings: Vec::new(),
        }
    }

    fn warnings_besides_the_build(host: &Host, load: f64) -> Vec<String> {
        let mut warnings = host.judge(Some(load));
        warnings.retain(|warning| !warning.contains("--release"));
        warnings
    }

    #[test]
    fn a_tuned_host_has_no_warnings() {
        assert_eq!(
            warnings_besides_the_build(&quiet_host(), 0.1),
            Vec::<String>::new()
        );
    }

    #[test]
    fn each_defect_has_its_warning() {
        let defects: [(&str, Host); 7] = [
            (
                "virtual",
                Host {
                    virtualised: Some(true),
                    ..quiet_host()
                },
            ),
            (
                "one CPU",
                Host {
                    cpus_allowed: 1,
                    ..quiet_host()
                },
            ),
            (
                "two CPUs",
                Host {
                    cpus_allowed: 2,
                    ..quiet_host()
                },
            ),
            (
                "isolated",
                Host {
                    isolated_cpus: None,
                    ..quiet_host()
                },
            ),
            (
                "powersave",
                Host {
                    governor: Some("powersave".into()),
                    ..quiet_host()
                },
            ),
            (
                "spectre_v2",
                Host {
                    mitigations: vec!["spectre_v2".into()],
                    ..quiet_host()
                },
            ),
            (
                "memlock",
                Host {
                    memlock_bytes: Some(65_536),
                    ..quiet_host()
                },
            ),
        ];
        for (word, host) in defects {
            let warnings = warnings_besides_the_build(&host, 0.0);
            assert_eq!(warnings.len(), 1, "{word}: {warnings:?}");
            assert!(warnings[0].contains(word), "{word}: {warnings:?}");
        }
        let loaded = warnings_besides_the_build(&quiet_host(), 12.5);
        assert!(loaded[0].starts_with("load 12.50"), "{loaded:?}");
    }

    #[test]
    fn the_kernel_s_texts_are_understood() {
        assert_eq!(chosen("always [madvise] never").as_deref(), Some("madvise"));
        assert_eq!(
            cpuinfo_field("a : 1\nmodel name\t: X 9\n", "model name"),
            Some("X 9")
        );
        let ticks = parse_cpu_ticks("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 1 1 1\n").unwrap();
        assert_eq!((ticks.all, ticks.stolen), (36, 8));
        assert!(parse_cpu_ticks("cpu  1 2 3\n").is_none());
    }
}
