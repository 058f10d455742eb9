// The catalogue in use. All text that a person reads comes from here.

import { en } from "./en";

/** The shape that every language fills. */
type Catalogue = typeof en;

/** Language of texts and dates. */
export const locale: string = "en";

export const t: Catalogue = en;
