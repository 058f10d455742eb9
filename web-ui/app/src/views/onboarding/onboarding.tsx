// First run: name and passphrase, the 24 words once, three of them checked,
// then a community or none. The words live in this component only.

import { useState } from "react";
import { sessionChanged } from "../../api/cache";
import { Check } from "./check";
import { Community } from "./community";
import { Identity } from "./identity";
import { Words } from "./words";

type Props = {
  /** The vault is made and unlocked; only the community is left. */
  made: boolean;
  onMade: () => void;
  onDone: () => void;
};

export function Onboarding({ made, onMade, onDone }: Props) {
  const [words, setWords] = useState<string[] | null>(null);
  const [checking, setChecking] = useState(false);

  if (made) return <Community onDone={onDone} />;
  if (words === null) return <Identity onWords={setWords} />;
  if (!checking) return <Words words={words} onNext={() => setChecking(true)} />;
  return (
    <Check
      onBack={() => setChecking(false)}
      onConfirmed={() => {
        onMade();
        sessionChanged();
      }}
    />
  );
}
