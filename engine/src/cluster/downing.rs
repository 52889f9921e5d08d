//! Which side goes on when a cluster falls apart, as a setting.

use ringmesh_cluster::membership::configuration::{Configuration, ConfigurationError};
use ringmesh_cluster::resolver::{DownAll, KeepMajority, ResolverSettings, StaticQuorum, Strategy};

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
    /// No side: all end whenever somebody is lost; see [`DownAll`].
    DownAll,
}

impl Default for Downing {
    fn default() -> Self {
        Self::KeepMajority { role: None }
    }
}

impl Downing {
    pub(crate) fn strategy(&self) -> Box<dyn Strategy> {
        let name = |role: &Option<String>| role.as_deref().map(Box::from);
        match self {
            Self::KeepMajority { role } => Box::new(KeepMajority { role: name(role) }),
            Self::StaticQuorum { size, role } => Box::new(StaticQuorum {
                size: *size,
                role: name(role),
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
            Self::DownAll => "down-all".to_owned(),
        }
    }

    /// Reads that. `None` if it is something else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let name = words.next()?;
        let (mut role, mut size) = (None, None);
        for word in words {
            match word.split_once('=')? {
                ("role", it) if role.is_none() => role = Some(it.to_owned()),
                ("size", it) if size.is_none() => {
                    size = it.parse().ok().filter(|size| (1..=1024).contains(size));
                    size?;
                }
                _ => return None,
            }
        }
        match (name, size, role) {
            ("keep-majority", None, role) => Some(Self::KeepMajority { role }),
            ("static-quorum", Some(size), role) => Some(Self::StaticQuorum { size, role }),
            ("down-all", None, None) => Some(Self::DownAll),
            _ => None,
        }
    }

    /// Adds what has to be the same on all members.
    pub(crate) fn compare(
        &self,
        settings: &ResolverSettings,
        configuration: &mut Configuration,
    ) -> Result<(), ConfigurationError> {
        let millis = |time: Option<std::time::Duration>| {
            time.map_or_else(|| "by size".to_owned(), |it| it.as_millis().to_string())
        };
        configuration.set("cluster.downing", &self.text())?;
        configuration.set("cluster.stable_after_ms", &millis(settings.stable_after))
    }
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
            Downing::StaticQuorum { size: 3, role },
            Downing::DownAll,
        ];
        for downing in all {
            let text = downing.text();
            assert!(text.starts_with(downing.strategy().name()), "{text}");
            assert_eq!(Downing::parse(&text), Some(downing));
        }
        let wrong = [
            "",
            "keep-oldest",
            "keep-majority size=3",
            "static-quorum",
            "static-quorum size=0",
            "static-quorum size=1025",
            "static-quorum size=3 size=3",
            "down-all role=x",
            "keep-majority role",
        ];
        for text in wrong {
            assert_eq!(Downing::parse(text), None, "{text}");
        }
    }
}
