//! `#[async_handler]`: ties an asynchronous handler to the protocol of its actor.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{
    Error, GenericArgument, ItemImpl, Path, PathArguments, PathSegment, Result, Type, parse_quote,
};

/// The arguments of `#[async_handler(...)]`.
pub(crate) struct Arguments {
    facade: Path,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut facade: Path = parse_quote!(::ringmesh);
        let parser = syn::meta::parser(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("`#[async_handler]` takes `crate = path`"));
            }
            facade = meta.value()?.parse()?;
            Ok(())
        });
        syn::parse::Parser::parse2(parser, input.parse()?)?;
        Ok(Self { facade })
    }
}

/// The item as it is, and what takes the protocol's messages to it.
pub(crate) fn expand(arguments: &Arguments, item: &ItemImpl) -> Result<TokenStream> {
    let message = message_of(item)?;
    let facade = &arguments.facade;
    let actor = &item.self_ty;
    let (generics, _, bounds) = item.generics.split_for_impl();
    Ok(quote! {
        #item

        #[automatically_derived]
        impl #generics #facade::__private::Serves<#message> for #actor #bounds {
            const IS_ASYNC: bool = true;

            fn serve(
                &mut self,
                message: #facade::Msg<#message>,
                cx: &mut #facade::Cx<'_, Self>,
            ) -> impl ::core::future::Future<
                Output = <#message as #facade::Message>::Reply,
            > {
                <Self as #facade::AsyncHandler<#message>>::handle(self, message, cx)
            }
        }
    })
}

/// The `M` of `impl AsyncHandler<M> for ..`.
fn message_of(item: &ItemImpl) -> Result<&Type> {
    let last = match &item.trait_ {
        Some((None, path, _)) => path.segments.last(),
        _ => None,
    };
    last.and_then(argument).ok_or_else(|| {
        Error::new_spanned(
            &item.self_ty,
            "`#[async_handler]` stands on `impl AsyncHandler<M> for ..`",
        )
    })
}

fn argument(segment: &PathSegment) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return None;
    };
    match (segment.ident == "AsyncHandler", arguments.args.first()) {
        (true, Some(GenericArgument::Type(message))) => Some(message),
        _ => None,
    }
}
