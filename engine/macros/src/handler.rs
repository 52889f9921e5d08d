//! `#[async_handler]` and `#[later_handler]`: tie a handler to the protocol of its actor.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{ParseStream, Parser};
use syn::{
    Error, GenericArgument, ImplItem, ItemImpl, Path, PathArguments, PathSegment, Result, Type,
    parse_quote,
};

/// What the handler is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It may wait.
    Async,
    /// It may be answered later.
    Later,
}

impl Kind {
    fn attribute(self) -> &'static str {
        match self {
            Self::Async => "async_handler",
            Self::Later => "later_handler",
        }
    }

    fn handler(self) -> &'static str {
        match self {
            Self::Async => "AsyncHandler",
            Self::Later => "LaterHandler",
        }
    }

    /// Reads the arguments of the attribute: where the facade is.
    fn facade(self, arguments: TokenStream) -> Result<Path> {
        let mut facade: Path = parse_quote!(::ringmesh);
        let parse = |input: ParseStream<'_>| {
            let parser = syn::meta::parser(|meta| {
                if !meta.path.is_ident("crate") {
                    let attribute = self.attribute();
                    return Err(meta.error(format!("`#[{attribute}]` takes `crate = path`")));
                }
                facade = meta.value()?.parse()?;
                Ok(())
            });
            Parser::parse2(parser, input.parse()?)
        };
        Parser::parse2(parse, arguments)?;
        Ok(facade)
    }
}

/// The item as it is, and what takes the protocol's messages to it.
pub(crate) fn expand(kind: Kind, arguments: TokenStream, item: &ItemImpl) -> Result<TokenStream> {
    let facade = kind.facade(arguments)?;
    let message = message_of(kind, item)?;
    let actor = &item.self_ty;
    let (generics, _, bounds) = item.generics.split_for_impl();
    let reply = quote!(<#message as #facade::Message>::Reply);
    let signature = quote! {
        &mut self,
        message: #facade::Msg<#message>,
        cx: &mut #facade::Cx<'_, Self>,
    };
    let body = match kind {
        Kind::Async => {
            let serve = serve_async(item, &facade, message, &signature);
            quote! {
                const IS_ASYNC: bool = true;

                type Answer = #reply;

                #serve

                #[inline]
                fn settle(owed: #facade::__private::Owed<'_>, answer: &#reply) {
                    owed.answer(answer);
                }
            }
        }
        Kind::Later => quote! {
            const IS_ASYNC: bool = false;

            #[inline]
            fn serve_now(#signature) -> #facade::__private::Served<#reply> {
                let reply = #facade::__private::reply_to(cx);
                <Self as #facade::LaterHandler<#message>>::handle(self, message, reply, cx);
                #facade::__private::Served::Later
            }

            type Answer = ();

            #[inline]
            async fn serve(#signature) {
                let reply = #facade::__private::reply_to(cx);
                <Self as #facade::LaterHandler<#message>>::handle(self, message, reply, cx);
            }

            #[inline]
            fn settle(_: #facade::__private::Owed<'_>, (): &()) {}
        },
    };
    Ok(quote! {
        #item

        #[automatically_derived]
        impl #generics #facade::__private::Serves<#message> for #actor #bounds {
            #body
        }
    })
}

/// What has a loop poll an asynchronous handler. One that is no `async fn` may do something before
/// it is polled, and when it is dropped: with a future around it, both are part of its polls.
fn serve_async(
    item: &ItemImpl,
    facade: &Path,
    message: &Type,
    signature: &TokenStream,
) -> TokenStream {
    let reply = quote!(<#message as #facade::Message>::Reply);
    let handle = quote!(<Self as #facade::AsyncHandler<#message>>::handle(self, message, cx));
    if is_async_fn(item) {
        quote! {
            #[inline]
            fn serve(#signature) -> impl ::core::future::Future<Output = #reply> {
                #handle
            }
        }
    } else {
        quote! {
            #[inline]
            async fn serve(#signature) -> #reply {
                #handle.await
            }
        }
    }
}

/// Whether the handler is written as an `async fn`.
fn is_async_fn(item: &ItemImpl) -> bool {
    item.items.iter().any(|item| {
        matches!(item, ImplItem::Fn(method)
            if method.sig.ident == "handle" && method.sig.asyncness.is_some())
    })
}

/// The `M` of `impl AsyncHandler<M> for ..`.
fn message_of(kind: Kind, item: &ItemImpl) -> Result<&Type> {
    let last = match &item.trait_ {
        Some((None, path, _)) => path.segments.last(),
        _ => None,
    };
    last.and_then(|segment| argument(kind, segment))
        .ok_or_else(|| {
            let (attribute, handler) = (kind.attribute(), kind.handler());
            let text = format!("`#[{attribute}]` stands on `impl {handler}<M> for ..`");
            Error::new_spanned(&item.self_ty, text)
        })
}

fn argument(kind: Kind, segment: &PathSegment) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return None;
    };
    match (segment.ident == kind.handler(), arguments.args.first()) {
        (true, Some(GenericArgument::Type(message))) => Some(message),
        _ => None,
    }
}
