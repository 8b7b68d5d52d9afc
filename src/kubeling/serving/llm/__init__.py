"""LLMInferenceService: language models behind OpenAI's API, one pod a replica."""
