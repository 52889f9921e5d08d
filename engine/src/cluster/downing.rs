//! Which side goes on when a cluster falls apart, as a setting.

use ringmesh_cluster::membership::configuration::{Configuration, ConfigurationError};
use ringmesh_cluster::membership::gossip::MEMBERS_MAX;
use ringmesh_cluster::membership::roles::check_role;
use ringmesh_cluster::resolver::{
    DownAll, KeepMajority, KeepOldest, ResolverSettings, StaticQuorum, Strategy,
};

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
            Self::KeepOldest {
                down_if_alone,
                role,
            } => Box::new(KeepOldest {
                down_if_alone: *down_if_alone,
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
            Self::KeepOldest {
                down_if_alone,
                role,
            } => {
                let alone = if *down_if_alone { "" } else { " alone=stays" };
                format!("keep-oldest{alone}{}", with(role))
            }
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
            Self::KeepMajority { role } | Self::KeepOldest { role, .. } => (None, role),
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
            Downing::DownAll,
        ];
        for downing in all {
            let text = downing.text();
            assert!(text.starts_with(downing.strategy().name()), "{text}");
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
            "keep-majority role",
            "keep-majority role=",
            "keep-majority role=ro\u{308}le",
            "static-quorum size=3 role=a=b",
        ];
        for text in wrong {
            assert!(Downing::parse(text).is_err(), "{text}");
        }
    }
}
