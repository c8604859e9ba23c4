/** The network around a channel: its routes, what vendors serve there, what a machine serves. */

export { describeServices } from './reflection.ts';
export { routeFetches } from './route.ts';
export { type CollateralSource, VendorCollateral, type VendorCollateralOptions } from './vendor-collateral.ts';
