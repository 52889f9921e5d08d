//! `protocol!`: what may stand in it, and the code for it.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Ident, LitStr, Path, Result, Token, Visibility, braced, parse_quote};

use crate::parse::check_name;

/// A protocol's declaration.
pub(crate) struct Protocol {
    attributes: Vec<Attribute>,
    facade: Path,
    visibility: Visibility,
    name: Ident,
    id: LitStr,
    messages: Vec<Path>,
}

impl Parse for Protocol {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let (attributes, facade) = take_facade(input.call(Attribute::parse_outer)?)?;
        let visibility = input.parse()?;
        let name: Ident = input.parse()?;
        input.parse::<Token![=]>()?;
        let id = check_name(input.parse()?)?;
        let body;
        braced!(body in input);
        let messages = Punctuated::<Path, Token![,]>::parse_terminated(&body)?;
        let messages: Vec<_> = messages.into_iter().collect();
        if messages.len() > usize::from(u16::MAX) {
            return Err(Error::new(
                name.span(),
                "a protocol has at most 65,535 messages",
            ));
        }
        Ok(Self {
            attributes,
            facade,
            visibility,
            name,
            id,
            messages,
        })
    }
}

impl Protocol {
    pub(crate) fn expand(&self) -> TokenStream {
        let Self {
            attributes,
            facade,
            visibility,
            name,
            id,
            messages,
        } = self;
        let proto = quote!(#facade::__private::proto);
        let indices: Vec<u16> = (0..).take(messages.len()).collect();
        let distinct = self.assert_distinct(&proto);
        let dispatch = self.dispatch(&indices);
        quote! {
            #(#attributes)*
            #[derive(
                ::core::clone::Clone,
                ::core::marker::Copy,
                ::core::fmt::Debug,
            )]
            #visibility struct #name;

            #[automatically_derived]
            impl #facade::Protocol for #name {
                const NAME: &'static str = #id;
                const ID: #proto::message::ProtocolId = #proto::message::ProtocolId::of(#id);
                const MESSAGES: &'static [#proto::message::MessageInfo] =
                    &[#(#proto::message::MessageInfo::of::<#messages>()),*];
                const SHAPES: &'static [#proto::shape::MessageShape] =
                    &[#(#proto::shape::MessageShape::of::<#messages>()),*];
            }

            #(
                #[automatically_derived]
                impl #facade::Accepts<#messages> for #name {
                    const INDEX: u16 = #indices;
                }
            )*

            #dispatch
            #distinct
        }
    }

    /// The `match` that gives each message to its handler.
    fn dispatch(&self, indices: &[u16]) -> TokenStream {
        let Self {
            facade,
            name,
            messages,
            ..
        } = self;
        let private = quote!(#facade::__private);
        quote! {
            #[automatically_derived]
            impl<A> #private::Dispatch<A> for #name
            where
                A: #facade::Actor<Api = #name> #(+ #private::Serves<#messages>)*,
            {
                const IS_ASYNC: bool =
                    false #(|| <A as #private::Serves<#messages>>::IS_ASYNC)*;
                const CHECKS: &'static [#private::Check] =
                    &[#(#private::Check::of::<#messages>()),*];

                #[inline]
                fn dispatch(
                    actor: &mut A,
                    index: u16,
                    delivery: #private::Delivery<'_>,
                    cx: &mut #facade::Cx<'_, A>,
                ) -> #private::Outcome {
                    match index {
                        #(#indices => #private::deliver::<A, #messages>(actor, delivery, cx),)*
                        _ => #private::no_such_message(delivery),
                    }
                }

                async fn serve(
                    actor: &mut A,
                    next: #private::Next<'_>,
                    cx: &mut #facade::Cx<'_, A>,
                ) {
                    match next.index() {
                        #(#indices => #private::serve::<A, #messages>(actor, next, cx).await,)*
                        _ => {}
                    }
                }
            }
        }
    }

    /// One assertion per message, so that the error points at the one that is too many.
    fn assert_distinct(&self, proto: &TokenStream) -> TokenStream {
        let Self {
            facade,
            name,
            messages,
            ..
        } = self;
        let assertions = messages.iter().enumerate().map(|(index, message)| {
            let text = format!(
                "the id of `{}` is also that of an earlier message of `{name}`",
                message.to_token_stream()
            );
            quote_spanned! {message.span().resolved_at(Span::call_site())=>
                const _: () = ::core::assert!(
                    #proto::message::is_first_with_id(
                        <#name as #facade::Protocol>::MESSAGES,
                        #index
                    ),
                    #text
                );
            }
        });
        quote!(#(#assertions)*)
    }
}

/// Takes `#[protocol(crate = path)]` out of the attributes.
fn take_facade(attributes: Vec<Attribute>) -> Result<(Vec<Attribute>, Path)> {
    let (own, others): (Vec<_>, Vec<_>) = attributes
        .into_iter()
        .partition(|attribute| attribute.path().is_ident("protocol"));
    let mut facade: Path = parse_quote!(::ringmesh);
    for attribute in own {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("`#[protocol]` takes `crate = path`"));
            }
            facade = meta.value()?.parse()?;
            Ok(())
        })?;
    }
    Ok((others, facade))
}
