"""The nouns. `facts` is what was seen, `findings` what it means, `verdicts` what bind would say."""
