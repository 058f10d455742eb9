// Requests that change something: one at a time per control, what they touch is
// fetched again, a refusal is said.

import { useMutation, type UseMutationResult } from "@tanstack/react-query";
import { sentence } from "./client";
import { client } from "./cache";
import { toast } from "../ui/toasts";

type Options<T, V> = {
  /** What to fetch again afterwards; the action is busy until it is there. */
  refresh?: readonly (readonly unknown[])[];
  done?: (result: T, input: V) => void;
  /** Errors are shown next to the control instead of as a toast. */
  quiet?: boolean;
  /** A second request may start before the first has its answer. */
  parallel?: boolean;
};

/** A request that changes something. A refusal becomes a toast. */
export function useAction<T, V = void>(run: (input: V) => Promise<T>, options: Options<T, V> = {}): UseMutationResult<T, Error, V> {
  const refresh = () => Promise.all((options.refresh ?? []).map((queryKey) => client.invalidateQueries({ queryKey })));
  const mutation = useMutation<T, Error, V>({
    mutationFn: run,
    onSuccess: async (result, input) => {
      options.done?.(result, input);
      await refresh();
    },
    onError: (error) => {
      if (options.quiet !== true) toast.refusal(sentence(error));
      void refresh();
    },
  });
  const { mutate, isPending } = mutation;
  if (options.parallel === true) return mutation;
  return { ...mutation, mutate: (...input) => (isPending ? undefined : mutate(...input)) };
}
