//! What may stand in `#[message(...)]` and `#[wire(...)]`, and what a wire-safe type may look like.

use proc_macro2::TokenTree;
use quote::ToTokens;
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Error, Field, Fields, Ident, LitInt, LitStr, Path, Result, Token,
    Type, Variant, parenthesized, parse_quote,
};

/// The longest name of a message or a protocol, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// The most older versions of one message that are read: their number is kept in a byte.
const OLDER_VERSIONS_MAX: usize = 255;

/// The arguments of `#[wire(...)]`, and those that `#[message(...)]` has in common with it.
#[derive(Default)]
pub(crate) struct WireArguments {
    pub(crate) pod: bool,
    facade: Option<Path>,
}

/// The two sorts of messages.
pub(crate) enum AnyMessage {
    /// `#[message(local)]`: it never leaves its node.
    Local(WireArguments),
    Archived(Box<MessageArguments>),
}

impl Parse for AnyMessage {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let first = input.fork().parse::<Ident>();
        if !first.is_ok_and(|first| first == "local") {
            return input.parse().map(Box::new).map(Self::Archived);
        }
        let mut arguments = WireArguments::default();
        let parser = syn::meta::parser(|meta| {
            let is_first = meta.path.is_ident("local");
            if is_first || meta.path.is_ident("crate") && arguments.take(&meta)? {
                return Ok(());
            }
            Err(meta.error("`#[message(local)]` takes `crate = path` and nothing else"))
        });
        syn::parse::Parser::parse2(parser, input.parse()?)?;
        Ok(Self::Local(arguments))
    }
}

/// The arguments of `#[message(...)]`, but `local`.
pub(crate) struct MessageArguments {
    pub(crate) id: LitStr,
    pub(crate) version: u32,
    pub(crate) reply: Type,
    /// The older versions it is made of.
    pub(crate) older: Vec<Path>,
    pub(crate) wire: WireArguments,
}

impl WireArguments {
    /// Where the facade is.
    pub(crate) fn facade(&self) -> Path {
        self.facade
            .clone()
            .unwrap_or_else(|| parse_quote!(::ringmesh))
    }

    /// Takes one argument; says whether it was one of these.
    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<bool> {
        if meta.path.is_ident("pod") {
            self.pod = true;
        } else if meta.path.is_ident("crate") {
            set(&mut self.facade, meta, meta.value()?.parse()?)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

impl Parse for WireArguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut wire = Self::default();
        let parser = syn::meta::parser(|meta| {
            if wire.take(&meta)? {
                return Ok(());
            }
            Err(meta.error("`#[wire]` takes `pod` and `crate = path`"))
        });
        syn::parse::Parser::parse2(parser, input.parse()?)?;
        Ok(wire)
    }
}

impl Parse for MessageArguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut wire = WireArguments::default();
        let (mut id, mut version, mut reply) = (None::<LitStr>, None::<LitInt>, None::<Type>);
        let mut older = None;
        let span = input.span();
        let parser = syn::meta::parser(|meta| {
            if meta.path.is_ident("id") {
                set(&mut id, &meta, meta.value()?.parse()?)
            } else if meta.path.is_ident("v") {
                set(&mut version, &meta, meta.value()?.parse()?)
            } else if meta.path.is_ident("reply") {
                set(&mut reply, &meta, meta.value()?.parse()?)
            } else if meta.path.is_ident("upgrades") {
                set(&mut older, &meta, parse_older(&meta)?)
            } else if wire.take(&meta)? {
                Ok(())
            } else {
                Err(meta.error(
                    "`#[message]` takes `id = \"...\"`, `v = N`, `reply = T`, `upgrades(..)`, \
                     `pod` and `crate = path`, or `local`",
                ))
            }
        });
        syn::parse::Parser::parse2(parser, input.parse()?)?;
        let missing = |what| Error::new(span, format!("a message needs {what}"));
        let id = id.ok_or_else(|| missing("an id: `id = \"service.Name\"`"))?;
        let version = version.ok_or_else(|| missing("a version: `v = 1`"))?;
        Ok(Self {
            id: check_name(id)?,
            version: check_version(&version)?,
            reply: reply.unwrap_or_else(|| parse_quote!(())),
            older: older.unwrap_or_default(),
            wire,
        })
    }
}

/// Checks the name of a message or a protocol.
pub(crate) fn check_name(name: LitStr) -> Result<LitStr> {
    let text = name.value();
    if text.is_empty() || text.len() > NAME_BYTES_MAX {
        return Err(Error::new(
            name.span(),
            format!(
                "a name has 1 to {NAME_BYTES_MAX} bytes, this one {}",
                text.len()
            ),
        ));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::new(
            name.span(),
            "a name is made of visible ASCII, without spaces",
        ));
    }
    Ok(name)
}

/// Checks what derives cannot see or would explain badly, all of it in one go.
pub(crate) fn check_shape(item: &DeriveInput) -> Result<()> {
    let mut errors = Errors(None);
    if !item.generics.params.is_empty() {
        errors.add(Error::new_spanned(
            &item.generics,
            "a wire type cannot be generic: its id, version and fingerprint name one concrete \
             layout",
        ));
    }
    check_attributes(&item.attrs, &mut errors);
    match &item.data {
        Data::Struct(data) => check_fields(&data.fields, &item.ident, &mut errors),
        Data::Enum(data) => {
            if data.variants.is_empty() {
                errors.add(Error::new(
                    item.ident.span(),
                    "an enum without variants has no value",
                ));
            }
            for variant in &data.variants {
                check_variant(variant, &item.ident, &mut errors);
            }
        }
        Data::Union(data) => errors.add(Error::new(
            data.union_token.span(),
            "a union cannot be validated; use an enum",
        )),
    }
    errors.0.map_or(Ok(()), Err)
}

/// Errors of one item, reported together.
struct Errors(Option<Error>);

impl Errors {
    fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }
}

fn set<T>(slot: &mut Option<T>, meta: &ParseNestedMeta<'_>, value: T) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(meta.error("given twice"));
    }
    Ok(())
}

/// The list in `upgrades(AddV1, AddV2)`.
fn parse_older(meta: &ParseNestedMeta<'_>) -> Result<Vec<Path>> {
    let list;
    parenthesized!(list in meta.input);
    let older = Punctuated::<Path, Token![,]>::parse_terminated(&list)?;
    if older.is_empty() {
        return Err(meta.error("name the older versions: `upgrades(AddV1)`"));
    }
    if older.len() > OLDER_VERSIONS_MAX {
        return Err(meta.error(format!(
            "a message is made of at most {OLDER_VERSIONS_MAX} older versions"
        )));
    }
    Ok(older.into_iter().collect())
}

fn check_version(version: &LitInt) -> Result<u32> {
    match version.base10_parse()? {
        0 => Err(Error::new(version.span(), "versions start at 1")),
        version => Ok(version),
    }
}

fn check_variant(variant: &Variant, item: &Ident, errors: &mut Errors) {
    check_attributes(&variant.attrs, errors);
    if let Some((_, discriminant)) = &variant.discriminant {
        errors.add(Error::new_spanned(
            discriminant,
            "the tag on the wire is the variant's position; give no discriminant",
        ));
    }
    check_fields(&variant.fields, item, errors);
}

fn check_fields(fields: &Fields, item: &Ident, errors: &mut Errors) {
    for field in fields {
        check_attributes(&field.attrs, errors);
        check_recursion(field, item, errors);
    }
}

/// Refuses attributes that would make the layout another than the one written.
fn check_attributes(attributes: &[Attribute], errors: &mut Errors) {
    for attribute in attributes {
        let path = attribute.path();
        if path.is_ident("rkyv") || path.is_ident("bytecheck") {
            errors.add(Error::new_spanned(
                attribute,
                "Ringmesh fixes how a wire type is archived",
            ));
        } else if path.is_ident("cfg") || path.is_ident("cfg_attr") {
            errors.add(Error::new_spanned(
                attribute,
                "the layout of a wire type cannot depend on the build; make two types of it",
            ));
        }
    }
}

/// Refuses direct recursion with a word for it; indirect recursion is a cycle for the compiler.
fn check_recursion(field: &Field, item: &Ident, errors: &mut Errors) {
    let mut after_colon = false;
    let mentions_item = flatten(field.ty.to_token_stream()).iter().any(|token| {
        // `other::Name` is another type of that name.
        let qualified = std::mem::replace(&mut after_colon, is_colon(token));
        matches!(token, TokenTree::Ident(ident) if !qualified && (ident == item || ident == "Self"))
    });
    if mentions_item {
        errors.add(Error::new_spanned(
            &field.ty,
            "a wire type cannot contain itself: its depth must be bounded; keep a flat vector and \
             refer to elements by index",
        ));
    }
}

fn is_colon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':')
}

/// All tokens, those within brackets included.
fn flatten(tokens: proc_macro2::TokenStream) -> Vec<TokenTree> {
    tokens
        .into_iter()
        .flat_map(|token| match token {
            TokenTree::Group(group) => flatten(group.stream()),
            token => vec![token],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_over_the_older_versions_is_refused() {
        let parsed = |count: usize| {
            let older = vec!["Old"; count].join(", ");
            let arguments = format!("id = \"a.Message\", v = 900, upgrades({older})");
            let parsed = syn::parse_str::<MessageArguments>(&arguments);
            parsed.map(|arguments| arguments.older.len())
        };
        assert_eq!(parsed(OLDER_VERSIONS_MAX).expect("as many as may be"), 255);
        let error = parsed(OLDER_VERSIONS_MAX + 1).expect_err("one more");
        assert!(error.to_string().contains("at most 255"), "{error}");
    }
}
