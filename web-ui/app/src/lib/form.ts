// A form: what is wrong in it shows once it was tried, and nothing is sent
// before it is right.

import { useState, type FormEvent } from "react";

/** What is wrong with each field, as a sentence, or null. */
type Problems<K extends string> = Record<K, string | null>;

export function useForm<K extends string>(problems: Problems<K>, send: () => void) {
  const [tried, setTried] = useState(false);
  const fields = Object.keys(problems) as K[];
  const attempt = (act: () => void) => {
    setTried(true);
    if (fields.every((field) => problems[field] === null)) act();
  };
  return {
    /** For the fields. */
    problem: (field: K) => (tried ? problems[field] : null),
    submit: (event: FormEvent) => {
      event.preventDefault();
      attempt(send);
    },
    /** For a button of the form that does something else with its fields. */
    attempt,
    /** As if it was never tried, after its fields were emptied. */
    fresh: () => setTried(false),
  };
}
