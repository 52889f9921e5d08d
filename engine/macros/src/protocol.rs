//! `protocol!`: what may stand in it, and the code for it.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
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
    /// Those that never cross the wire, numbered on behind the others.
    locals: Vec<Path>,
}

/// One message in the list.
struct Entry {
    is_local: bool,
    message: Path,
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        // A message, or its module, may be called `local` too.
        let is_marked = input.fork().parse::<Ident>().is_ok_and(|it| it == "local");
        let is_local = is_marked && input.peek2(Ident::peek_any);
        if is_local {
            input.parse::<Ident>()?;
        }
        let message = input.parse()?;
        Ok(Self { is_local, message })
    }
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
        let entries = Punctuated::<Entry, Token![,]>::parse_terminated(&body)?;
        if entries.len() > usize::from(u16::MAX) {
            return Err(Error::new(
                name.span(),
                "a protocol has at most 65,535 messages",
            ));
        }
        let (locals, messages): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.is_local);
        let paths = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.message).collect();
        Ok(Self {
            attributes,
            facade,
            visibility,
            name,
            id,
            messages: paths(messages),
            locals: paths(locals),
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
            locals,
        } = self;
        let proto = quote!(#facade::__private::proto);
        let indices: Vec<u16> = (0..).take(messages.len()).collect();
        let local_indices = self.local_indices();
        let local_infos = self.local_infos();
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
                const CHECKS: &'static [#facade::__private::Check] =
                    &[#(#facade::__private::Check::of::<#messages>()),*];
                #local_infos
            }

            #(
                #[automatically_derived]
                impl #facade::Accepts<#messages> for #name {
                    const INDEX: u16 = #indices;
                }
            )*

            #(
                #[automatically_derived]
                impl #facade::AcceptsLocal<#locals> for #name {
                    const INDEX: u16 = #local_indices;
                }
            )*

            #dispatch
            #distinct
        }
    }

    /// Numbers of the local messages.
    fn local_indices(&self) -> Vec<u16> {
        let numbers = 0..u16::MAX;
        let behind = numbers.skip(self.messages.len());
        behind.take(self.locals.len()).collect()
    }

    /// The const about local messages, if there are any.
    fn local_infos(&self) -> TokenStream {
        let Self { facade, locals, .. } = self;
        if locals.is_empty() {
            return TokenStream::new();
        }
        let info = quote!(#facade::__private::LocalInfo);
        quote!(const LOCALS: &'static [#info] = &[#(#info::of::<#locals>()),*];)
    }

    /// The `match` that gives each local message to its handler, if there are any.
    fn dispatch_local(&self) -> TokenStream {
        let Self { facade, locals, .. } = self;
        if locals.is_empty() {
            return TokenStream::new();
        }
        let private = quote!(#facade::__private);
        let indices = self.local_indices();
        quote! {
            fn dispatch_local(
                actor: &mut A,
                index: u16,
                value: #private::LocalValue,
                cx: &mut #facade::Cx<'_, A>,
            ) {
                match index {
                    #(#indices => #private::deliver_local::<A, #locals>(actor, value, cx),)*
                    _ => {}
                }
            }
        }
    }

    /// The `match` that gives each message to its handler.
    fn dispatch(&self, indices: &[u16]) -> TokenStream {
        let Self {
            facade,
            name,
            messages,
            locals,
            ..
        } = self;
        let private = quote!(#facade::__private);
        let dispatch_local = self.dispatch_local();
        let run = self.run(indices);
        quote! {
            #[automatically_derived]
            impl<A> #private::Dispatch<A> for #name
            where
                A: #facade::Actor<Api = #name>
                    #(+ #private::Serves<#messages>)*
                    #(+ #facade::LocalHandler<#locals>)*,
            {
                const IS_ASYNC: bool =
                    false #(|| <A as #private::Serves<#messages>>::IS_ASYNC)*;
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

                #dispatch_local

                #run
            }
        }
    }

    /// The loop of an actor, with the `match` that gives each message to its handler.
    fn run(&self, indices: &[u16]) -> TokenStream {
        let Self {
            facade,
            messages,
            locals,
            ..
        } = self;
        let private = quote!(#facade::__private);
        let local_indices = self.local_indices();
        quote! {
            async fn run(mut actor: A, seat: #private::Seat<A>) {
                seat.start(&mut actor);
                loop {
                    match seat.look(&mut actor) {
                        #private::Look::Message => {}
                        #private::Look::Nothing => {
                            #private::next_poll().await;
                            continue;
                        }
                        #private::Look::End => break,
                    }
                    let ::core::option::Option::Some(source) = seat.source() else {
                        continue;
                    };
                    let origin = seat.origin(&source);
                    let mut cx = seat.cx(&origin);
                    match seat.index() {
                        #(#indices => {
                            // The message is in no variable: that would be a copy of it per
                            // message.
                            let mut handler = ::core::pin::pin!(match seat.message() {
                                ::core::option::Option::Some(message) => {
                                    ::core::option::Option::Some(
                                        <A as #private::Serves<#messages>>::serve(
                                            &mut actor,
                                            message,
                                            &mut cx,
                                        ),
                                    )
                                }
                                ::core::option::Option::None => ::core::option::Option::None,
                            });
                            while seat
                                .poll::<#messages, _>(handler.as_mut(), &origin)
                                .is_pending()
                            {
                                #private::next_poll().await;
                                seat.resume(handler.as_mut());
                            }
                        })*
                        #(#local_indices => seat.serve_local(|value| {
                            #private::deliver_local::<A, #locals>(&mut actor, value, &mut cx);
                        }),)*
                        _ => seat.refuse(),
                    }
                    seat.end(&cx);
                }
                seat.stop(&mut actor);
                ::core::future::pending().await
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
