//! Which side goes on when a cluster falls apart, as a setting.

use ringmesh_cluster::lease::{LEASE_NAME_BYTES_MAX, LeaseName};
use ringmesh_cluster::membership::configuration::{Configuration, ConfigurationError};
use ringmesh_cluster::membership::gossip::MEMBERS_MAX;
use ringmesh_cluster::membership::roles::check_role;
use ringmesh_cluster::resolver::{
    DownAll, KeepMajority, KeepOldest, LeaseMajority, ResolverSettings, StaticQuorum, Strategy,
};
use ringmesh_proto::checksum::of_bytes;

use super::LeaseStore;

/// Which side goes on when a cluster falls apart: the same on all members, which is checked when a
/// node joins.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Downing {
    /// The side with more members, or of two halves that with the first by address; see
    /// [`KeepMajority`]. If the cluster falls into three parts, none may be large enough.
    KeepMajority {
        /// Only members with this role count.
        role: Option<String>,
    },
    /// The side with so many members; see [`StaticQuorum`]. With twice as many members as that, no
    /// side goes on.
    StaticQuorum {
        /// So many are enough.
        size: usize,
        /// Only members with this role count.
        role: Option<String>,
    },
    /// The side with the oldest member; see [`KeepOldest`]. It is not voted: where both sides do
    /// not see the same cut, both may go on.
    KeepOldest {
        /// Whether the oldest goes if it is alone and two others or more are on the other side.
        down_if_alone: bool,
        /// Only members with this role count.
        role: Option<String>,
    },
    /// The side that gets a lease from a [store](crate::lease), most often the one with more
    /// members; see [`LeaseMajority`]. While the store is out of reach, none. The lease is named
    /// after the cluster and the data centre, so clusters may share a store.
    LeaseMajority {
        /// Only members with this role count.
        role: Option<String>,
    },
    /// No side: all end whenever somebody is lost; see [`DownAll`].
    DownAll,
}

impl Default for Downing {
    fn default() -> Self {
        Self::KeepMajority { role: None }
    }
}

impl Downing {
    /// The strategy of a node of that cluster and data centre.
    pub(crate) fn strategy(&self, system: &str, data_centre: &str) -> Box<dyn Strategy> {
        let name = |role: &Option<String>| role.as_deref().map(Box::from);
        match self {
            Self::KeepMajority { role } => Box::new(KeepMajority { role: name(role) }),
            Self::StaticQuorum { size, role } => Box::new(StaticQuorum {
                size: *size,
                role: name(role),
            }),
            Self::KeepOldest {
                down_if_alone,
                role,
            } => Box::new(KeepOldest {
                down_if_alone: *down_if_alone,
                role: name(role),
            }),
            Self::LeaseMajority { role } => Box::new(LeaseMajority {
                role: name(role),
                ..LeaseMajority::new(lease_name(system, data_centre))
            }),
            Self::DownAll => Box::new(DownAll),
        }
    }

    /// As it stands in a file: the strategy, and behind it what it takes.
    pub(crate) fn text(&self) -> String {
        let with = |role: &Option<String>| match role {
            Some(role) => format!(" role={role}"),
            None => String::new(),
        };
        match self {
            Self::KeepMajority { role } => format!("keep-majority{}", with(role)),
            Self::StaticQuorum { size, role } => {
                format!("static-quorum size={size}{}", with(role))
            }
            Self::KeepOldest {
                down_if_alone,
                role,
            } => {
                let alone = if *down_if_alone { "" } else { " alone=stays" };
                format!("keep-oldest{alone}{}", with(role))
            }
            Self::LeaseMajority { role } => format!("lease-majority{}", with(role)),
            Self::DownAll => "down-all".to_owned(),
        }
    }

    /// Reads that.
    ///
    /// # Errors
    /// What is wrong with it, as far as there is more to say than that it is something else.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let other = String::new;
        let mut words = text.split_whitespace();
        let name = words.next().ok_or_else(other)?;
        let (mut role, mut size, mut alone) = (None, None, None);
        for word in words {
            match word.split_once('=').ok_or_else(other)? {
                ("role", it) if role.is_none() => role = Some(it.to_owned()),
                ("size", it) if size.is_none() => size = Some(it.parse().map_err(|_| other())?),
                ("alone", it @ ("goes" | "stays")) if alone.is_none() => alone = Some(it),
                _ => return Err(other()),
            }
        }
        let downing = match (name, size, alone, role) {
            ("keep-majority", None, None, role) => Self::KeepMajority { role },
            ("static-quorum", Some(size), None, role) => Self::StaticQuorum { size, role },
            ("keep-oldest", None, alone, role) => Self::KeepOldest {
                down_if_alone: alone != Some("stays"),
                role,
            },
            ("lease-majority", None, None, role) => Self::LeaseMajority { role },
            ("down-all", None, None, None) => Self::DownAll,
            _ => return Err(other()),
        };
        let checked = downing.check();
        checked.map_err(|error| format!(": {error}"))?;
        Ok(downing)
    }

    /// Checks what it was given.
    ///
    /// # Errors
    /// What cannot be.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (size, role) = match self {
            Self::KeepMajority { role }
            | Self::KeepOldest { role, .. }
            | Self::LeaseMajority { role } => (None, role),
            Self::StaticQuorum { size, role } => (Some(*size), role),
            Self::DownAll => return Ok(()),
        };
        if let Some(size) = size.filter(|size| !(1..=MEMBERS_MAX).contains(size)) {
            return Err(format!(
                "a quorum of {size} is out of range: choose from 1 to {MEMBERS_MAX}"
            ));
        }
        let checked = role.as_deref().map_or(Ok(()), check_role);
        checked.map_err(|error| error.to_string())
    }

    /// Whether it cannot be without a store that gives leases.
    pub(crate) fn needs_lease(&self) -> bool {
        matches!(self, Self::LeaseMajority { .. })
    }
}

/// Adds what has to be the same on all members: by what they decide, how soon, and which store
/// gives the lease by which they do, as far as a node can tell.
pub(super) fn compare(
    strategy: &str,
    settings: &ResolverSettings,
    store: &LeaseStore,
    configuration: &mut Configuration,
) -> Result<(), ConfigurationError> {
    let millis = |time: Option<std::time::Duration>| {
        time.map_or_else(|| "by size".to_owned(), |it| it.as_millis().to_string())
    };
    configuration.set("cluster.downing", strategy)?;
    configuration.set("cluster.stable_after_ms", &millis(settings.stable_after))?;
    let mut set = |name: &str, value: Option<&str>| {
        value.map_or(Ok(()), |value| configuration.set(name, value))
    };
    set("cluster.lease_store", store.kind())?;
    set("cluster.lease_store.within", store.within())
}

/// Which lease decides in a data centre of a cluster. What a name of a lease has no letters for
/// becomes `-`; so that it stays another one for another cluster, a checksum of the whole is behind
/// it then.
fn lease_name(system: &str, data_centre: &str) -> LeaseName {
    let whole = format!("{system}--{data_centre}--downing");
    let is_plain = |part: &str| LeaseName::new(part).is_ok() && !part.contains("--");
    if is_plain(system)
        && is_plain(data_centre)
        && let Ok(name) = LeaseName::new(&whole)
    {
        return name;
    }
    let sum = of_bytes(format!("{system}/{data_centre}").as_bytes());
    let plain = |letter: char| match letter.to_ascii_lowercase() {
        letter @ ('a'..='z' | '0'..='9') => letter,
        _ => '-',
    };
    let most = LEASE_NAME_BYTES_MAX - "downing--".len() - 8;
    let plain: String = whole.chars().map(plain).take(most).collect();
    let plain = plain.trim_matches('-');
    let name = LeaseName::new(&format!("downing-{plain}-{sum:08x}"));
    name.expect("it is made of letters that a name may have, and not too long")
}

/// Whether a lease of that name is one that decides in some cluster.
pub(super) fn is_reserved(name: &LeaseName) -> bool {
    let name = name.as_str();
    name.starts_with("downing-") || name.ends_with("--downing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_again_and_nothing_else_is() {
        let role = Some("core".to_owned());
        let all = [
            Downing::KeepMajority { role: None },
            Downing::KeepMajority { role: role.clone() },
            Downing::StaticQuorum {
                size: 3,
                role: None,
            },
            Downing::StaticQuorum {
                size: 3,
                role: role.clone(),
            },
            Downing::KeepOldest {
                down_if_alone: true,
                role: None,
            },
            Downing::KeepOldest {
                down_if_alone: false,
                role,
            },
            Downing::LeaseMajority { role: None },
            Downing::LeaseMajority {
                role: Some("core".to_owned()),
            },
            Downing::DownAll,
        ];
        for downing in all {
            let text = downing.text();
            assert!(
                text.starts_with(downing.strategy("demo", "default").name()),
                "{text}"
            );
            assert_eq!(Downing::parse(&text), Ok(downing));
        }
        let wrong = [
            "",
            "keep-youngest",
            "keep-majority size=3",
            "keep-majority alone=goes",
            "keep-oldest size=3",
            "keep-oldest alone",
            "keep-oldest alone=perhaps",
            "keep-oldest alone=goes alone=goes",
            "static-quorum",
            "static-quorum size=0",
            "static-quorum size=1025",
            "static-quorum size=3 size=3",
            "down-all role=x",
            "lease-majority size=3",
            "keep-majority role",
            "keep-majority role=",
            "keep-majority role=ro\u{308}le",
            "static-quorum size=3 role=a=b",
        ];
        for text in wrong {
            assert!(Downing::parse(text).is_err(), "{text}");
        }
    }

    /// As far as both sides name it: a directory may be mounted anywhere.
    #[test]
    fn members_whose_lease_is_in_another_store_differ() {
        let with = |store: &str| {
            let store = LeaseStore::parse(store).expect(store);
            let (mut all, settings) = (Configuration::default(), ResolverSettings::default());
            compare("lease-majority", &settings, &store, &mut all).expect("they fit");
            all
        };
        let differ = |one, other| with(one).differing(&with(other)).len();
        assert_eq!(differ("directory /a", "directory /b"), 0);
        assert_eq!(differ("kubernetes", "kubernetes namespace=b"), 0);
        assert_eq!(
            differ("none", "directory /b"),
            0,
            "a store of the program's"
        );
        assert_eq!(differ("directory /a", "kubernetes"), 1);
        assert_eq!(
            differ("kubernetes namespace=a", "kubernetes namespace=b"),
            1
        );
        let (one, same) = ("consul url=a", "consul url=b prefix=ringmesh/leases/");
        assert_eq!(differ(one, same), 0);
        assert_eq!(differ(one, "consul url=a prefix=b/"), 1);
    }

    #[test]
    fn each_cluster_and_data_centre_has_a_lease_of_its_own() {
        assert_eq!(lease_name("demo", "east").as_str(), "demo--east--downing");
        let longest = "a".repeat(LEASE_NAME_BYTES_MAX);
        let places = [
            ("Demo", "east"),
            ("demo", "East"),
            ("d_mo", "east"),
            ("d.mo", "east"),
            ("\u{e4}", "\u{e4}"),
            ("-", "-"),
            ("a-b", "c"),
            ("a", "b-c"),
            ("a--b", "c"),
            ("a", "b--c"),
            (&longest, "east"),
            (&longest, "west"),
            ("demo", "east"),
        ];
        let names = places.map(|(system, data_centre)| lease_name(system, data_centre));
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{name}");
            assert!(is_reserved(name), "{name}");
        }
    }
}
