//! The code for messages and their parts.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Field, Fields, Ident, Path, Result, Type};

use crate::parse::{AnyMessage, MessageArguments, WireArguments, check_shape};

/// `#[message]`, of either sort.
pub(crate) fn message(arguments: &AnyMessage, item: &DeriveInput) -> Result<TokenStream> {
    match arguments {
        AnyMessage::Local(arguments) => Ok(local(&arguments.facade(), item)),
        AnyMessage::Archived(arguments) => archived(arguments, item),
    }
}

/// A local message: the item as it is, with its mark.
fn local(facade: &Path, item: &DeriveInput) -> TokenStream {
    let name = &item.ident;
    let (generics, arguments, bounds) = item.generics.split_for_impl();
    quote! {
        #item

        #[automatically_derived]
        impl #generics #facade::LocalMessage for #name #arguments #bounds {}
    }
}

/// A message that is archived: a part with an identity.
fn archived(arguments: &MessageArguments, item: &DeriveInput) -> Result<TokenStream> {
    let wire = wire(&arguments.wire, item)?;
    let proto = proto(&arguments.wire.facade());
    let name = &item.ident;
    let MessageArguments {
        id,
        version,
        reply,
        older,
        ..
    } = arguments;
    let (older, older_assertions) = upgrades(&proto, name, older);
    // An error about the reply points at the reply.
    let reply = quote_spanned!(within_macro(reply.span())=> #reply);
    Ok(quote! {
        #wire

        #[automatically_derived]
        impl #proto::message::Message for #name {
            type Reply = #reply;
            const NAME: &'static str = #id;
            const VERSION: u32 = #version;
            #older
        }

        #older_assertions
    })
}

/// The consts about older versions, and assertions that fail at the one that is to blame.
fn upgrades(proto: &TokenStream, name: &Ident, older: &[Path]) -> (TokenStream, TokenStream) {
    if older.is_empty() {
        return (TokenStream::new(), TokenStream::new());
    }
    let consts = quote! {
        const OLDER: &'static [#proto::upgrade::Older] =
            &[#(#proto::upgrade::Older::of::<#older, Self>()),*];
        const OLDER_SHAPES: &'static [#proto::shape::MessageShape] =
            &[#(#proto::shape::MessageShape::of::<#older>()),*];
    };
    let each = older.iter().map(|older| {
        quote_spanned! {within_macro(older.span())=>
            const _: () = #proto::upgrade::assert_older::<#older, #name>();
        }
    });
    let assertions = quote! {
        #(#each)*
        const _: () = #proto::upgrade::assert_versions_differ::<#name>();
    };
    (consts, assertions)
}

/// `#[wire]`: the archiver's derives and the description of the layout.
pub(crate) fn wire(arguments: &WireArguments, item: &DeriveInput) -> Result<TokenStream> {
    check_shape(item)?;
    let facade = arguments.facade();
    let proto = proto(&facade);
    let rkyv = quote!(#facade::__private::rkyv);
    let name = &item.ident;
    // Away from `HelloResolver`, a name that somebody may want.
    let resolver = format_ident!("{}ArchiveResolver", name.unraw());
    let types = field_types(&item.data);
    let fingerprint = fingerprint(&proto, &item.data);
    let shape = shape(&proto, item);
    let pod = pod(&proto, &item.data);
    let pod_assertions = if arguments.pod {
        assert_pod(&proto, item)?
    } else {
        Vec::new()
    };
    let depths = types.iter().map(|ty| constant(&proto, ty, "DEPTH"));
    Ok(quote! {
        #[derive(#rkyv::Archive, #rkyv::Serialize, #rkyv::Deserialize)]
        #[rkyv(crate = #rkyv, resolver = #resolver, derive(Debug))]
        #item

        #[automatically_derived]
        impl #proto::message::WireSafe for #name {
            const FINGERPRINT: u64 = #fingerprint;
            const SHAPE: &'static #proto::shape::Shape = #shape;
            const DEPTH: u32 = #proto::message::deepest(&[#(#depths),*]);
            const POD: bool = #pod;
        }

        const _: () = {
            #proto::message::assert_wire_safe::<#name>();
            #(#pod_assertions)*
        };
    })
}

/// The crate with the traits, by way of the facade.
fn proto(facade: &Path) -> TokenStream {
    quote!(#facade::__private::proto)
}

/// The place of `span`, but code of this macro: lints do not look into it.
fn within_macro(span: Span) -> Span {
    span.resolved_at(Span::call_site())
}

/// A const of a field's type; an error about it points at the field.
fn constant(proto: &TokenStream, ty: &Type, name: &str) -> TokenStream {
    let span = within_macro(ty.span());
    let name = Ident::new(name, span);
    quote_spanned!(span=> <#ty as #proto::message::WireSafe>::#name)
}

fn field_types(data: &Data) -> Vec<&Type> {
    let fields: Vec<&Fields> = match data {
        Data::Struct(data) => vec![&data.fields],
        Data::Enum(data) => data
            .variants
            .iter()
            .map(|variant| &variant.fields)
            .collect(),
        Data::Union(_) => Vec::new(),
    };
    fields
        .into_iter()
        .flatten()
        .map(|field| &field.ty)
        .collect()
}

fn fingerprint(proto: &TokenStream, data: &Data) -> TokenStream {
    let (kind, parts) = match data {
        Data::Enum(data) => {
            let variants = data.variants.iter().map(|variant| {
                let name = variant.ident.unraw().to_string();
                let fields = fields_of_fingerprint(proto, &variant.fields);
                quote!(.variant(#name) #fields)
            });
            ("enumeration", quote!(#(#variants)*))
        }
        Data::Struct(data) => ("structure", fields_of_fingerprint(proto, &data.fields)),
        Data::Union(_) => ("structure", TokenStream::new()),
    };
    let kind = format_ident!("{kind}");
    quote!(#proto::fingerprint::Fingerprint::#kind() #parts.finish())
}

fn fields_of_fingerprint(proto: &TokenStream, fields: &Fields) -> TokenStream {
    let fields = named(fields).map(|(name, field)| {
        let fingerprint = constant(proto, &field.ty, "FINGERPRINT");
        quote!(.field(#name, #fingerprint))
    });
    quote!(#(#fields)*)
}

/// The fields, those without a name by their position.
fn named(fields: &Fields) -> impl Iterator<Item = (String, &Field)> {
    fields.iter().enumerate().map(|(index, field)| {
        let name = match &field.ident {
            Some(name) => name.unraw().to_string(),
            None => index.to_string(),
        };
        (name, field)
    })
}

fn shape(proto: &TokenStream, item: &DeriveInput) -> TokenStream {
    let shape = quote!(#proto::shape);
    let layout = match &item.data {
        Data::Enum(data) => {
            let variants = data.variants.iter().map(|variant| {
                let name = variant.ident.unraw().to_string();
                let fields = fields_of_shape(proto, &variant.fields);
                quote!(#shape::Variant { name: #name, fields: #fields })
            });
            quote!(Enumeration(&[#(#variants),*]))
        }
        Data::Struct(data) => {
            let fields = fields_of_shape(proto, &data.fields);
            quote!(Structure(#fields))
        }
        Data::Union(_) => quote!(Structure(&[])),
    };
    let name = item.ident.unraw().to_string();
    quote! {
        &#shape::Shape::Part(&#shape::Part {
            name: #name,
            module: ::core::module_path!(),
            layout: #shape::Layout::#layout,
        })
    }
}

fn fields_of_shape(proto: &TokenStream, fields: &Fields) -> TokenStream {
    let fields = named(fields).map(|(name, field)| {
        let shape = constant(proto, &field.ty, "SHAPE");
        quote!(#proto::shape::Field { name: #name, shape: #shape })
    });
    quote!(&[#(#fields),*])
}

fn pod(proto: &TokenStream, data: &Data) -> TokenStream {
    if !matches!(data, Data::Struct(_)) {
        return quote!(false);
    }
    let fields = field_types(data)
        .into_iter()
        .map(|ty| constant(proto, ty, "POD"));
    quote!(true #(&& #fields)*)
}

/// Assertions that fail at the field that is to blame.
fn assert_pod(proto: &TokenStream, item: &DeriveInput) -> Result<Vec<TokenStream>> {
    if let Data::Enum(data) = &item.data {
        return Err(Error::new(
            data.enum_token.span(),
            "an enum is not `pod`: its tag has values that mean nothing",
        ));
    }
    let assert = |ty: &Type| {
        let pod = constant(proto, ty, "POD");
        quote_spanned! {within_macro(ty.span())=>
            ::core::assert!(
                #pod,
                "not `pod`: not every bit pattern of this type is a value, or it has data out of \
                 line; use integers, floats and arrays of them, or leave `pod` away"
            );
        }
    };
    Ok(field_types(&item.data).into_iter().map(assert).collect())
}
