//! Fingerprints: what a layout is, as one number that both sides of a link compare.
//!
//! Two programs may read each other's archives in place only when they agree on every byte of the
//! layout. A [`Fingerprint`] folds that layout into 64 bits while compiling: the order and the
//! names of the fields, the fingerprints of their types, and [`FORMAT_FINGERPRINT`], the shape of
//! the archive format itself. Renaming, reordering or retyping a field changes it.
//!
//! The hash is FNV-1a with 64 bits (by Fowler, Noll and Vo). It guards against mistakes, not
//! against an attacker: whatever a peer claims, archives are validated before they are read.

use crate::archive;

/// The format of every archive: byte order, pointer width, size and alignment of what archives are
/// made of, and the generation of the archiver. Peers that differ here refuse each other.
pub const FORMAT_FINGERPRINT: u64 = {
    let mut hash = Fnv1a::new().text(archive::FORMAT);
    let mut index = 0;
    while index < archive::LAYOUTS.len() {
        let [size, align] = archive::LAYOUTS[index];
        hash = hash.number(size as u64).number(align as u64);
        index += 1;
    }
    hash.finish()
};

/// Collects one type's layout, part by part.
///
/// Every part is tagged with its kind and every text with its length, so that no two different
/// layouts feed the hash the same bytes.
#[derive(Clone, Copy, Debug)]
pub struct Fingerprint(Fnv1a);

impl Fingerprint {
    /// A type that is known by its name alone, such as `u64`.
    pub const fn primitive(name: &str) -> Self {
        Self::start("primitive").text(name)
    }

    /// A struct; its fields follow in order.
    pub const fn structure() -> Self {
        Self::start("struct")
    }

    /// An enum; its variants follow in order, each with its fields behind it.
    pub const fn enumeration() -> Self {
        Self::start("enum")
    }

    /// A tuple; its elements follow in order.
    pub const fn tuple() -> Self {
        Self::start("tuple")
    }

    /// A container such as `vec` or `option`; its element follows.
    pub const fn container(name: &str) -> Self {
        Self::start("container").text(name)
    }

    /// Adds a named field of a type with this fingerprint. Fields without a name are named by
    /// their position.
    #[must_use]
    pub const fn field(self, name: &str, fingerprint: u64) -> Self {
        Self(self.0.text("field").text(name).number(fingerprint))
    }

    /// Adds a variant of an enum.
    #[must_use]
    pub const fn variant(self, name: &str) -> Self {
        Self(self.0.text("variant").text(name))
    }

    /// Adds the element of a container or a tuple.
    #[must_use]
    pub const fn element(self, fingerprint: u64) -> Self {
        Self(self.0.text("element").number(fingerprint))
    }

    /// Adds a count that is part of the type, such as the length of an array.
    #[must_use]
    pub const fn count(self, count: u64) -> Self {
        Self(self.0.text("count").number(count))
    }

    /// The finished fingerprint.
    pub const fn finish(self) -> u64 {
        self.0.finish()
    }

    const fn start(kind: &str) -> Self {
        Self(Fnv1a::new().number(FORMAT_FINGERPRINT).text(kind))
    }

    const fn text(self, text: &str) -> Self {
        Self(self.0.text(text))
    }
}

/// FNV-1a with 64 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fnv1a(u64);

impl Fnv1a {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;

    pub(crate) const fn new() -> Self {
        Self(Self::OFFSET_BASIS)
    }

    pub(crate) const fn bytes(mut self, bytes: &[u8]) -> Self {
        let mut index = 0;
        while index < bytes.len() {
            self.0 = (self.0 ^ bytes[index] as u64).wrapping_mul(Self::PRIME);
            index += 1;
        }
        self
    }

    pub(crate) const fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    pub(crate) const fn finish(self) -> u64 {
        self.0
    }

    const fn text(self, text: &str) -> Self {
        self.number(text.len() as u64).bytes(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv1a() {
        // The vectors of the reference implementation.
        assert_eq!(Fnv1a::new().finish(), 0xcbf2_9ce4_8422_2325);
        assert_eq!(Fnv1a::new().bytes(b"a").finish(), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(
            Fnv1a::new().bytes(b"foobar").finish(),
            0x8594_4171_f739_67e8
        );
    }

    #[test]
    fn every_part_counts() {
        let base = Fingerprint::structure()
            .field("ab", 1)
            .field("c", 2)
            .finish();
        let others = [
            Fingerprint::structure()
                .field("a", 1)
                .field("bc", 2)
                .finish(),
            Fingerprint::structure()
                .field("c", 2)
                .field("ab", 1)
                .finish(),
            Fingerprint::structure()
                .field("ab", 2)
                .field("c", 2)
                .finish(),
            Fingerprint::structure().field("ab", 1).finish(),
            Fingerprint::tuple().field("ab", 1).field("c", 2).finish(),
            Fingerprint::enumeration()
                .field("ab", 1)
                .field("c", 2)
                .finish(),
            Fingerprint::enumeration().variant("ab").finish(),
            Fingerprint::enumeration()
                .variant("a")
                .variant("b")
                .finish(),
        ];
        for (index, other) in others.iter().enumerate() {
            assert_ne!(*other, base, "part {index}");
        }
        assert_ne!(others[6], others[7]);
    }
}
