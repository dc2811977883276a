"""Keys of the product's configuration that this program does not use, section by section.

A configuration that holds them is a good one: they give one line of warning, where a key that nobody knows is an error.
Where its own releases differ, all of their keys stand here.
"""

from __future__ import annotations

__all__ = [
    "AGENTS",
    "AGENT_DEFAULTS",
    "AGENT_ENTRY",
    "AUTH",
    "CONTROL_UI",
    "GATEWAY",
    "HTTP",
    "IMAGES",
    "MCP",
    "MCP_SERVER",
    "MODELS",
    "PROVIDER",
    "RESPONSES",
    "ROOT",
    "RUNTIME",
    "SESSION",
    "TLS",
    "TOOLS",
]


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


IMAGES = _keys("allowedMimes")
RESPONSES = _keys("files images maxUrlParts")
HTTP = _keys("securityHeaders")
AUTH = _keys("allowTailscale identityScopes trustedProxy")
TLS = _keys("autoGenerate")
CONTROL_UI = _keys("""
    allowExternalEmbedUrls allowInsecureAuth basePath chatMessageMaxWidth dangerouslyAllowHostHeaderOriginFallback
    dangerouslyDisableDeviceAuth embedSandbox enabled root
""")
GATEWAY = _keys("""
    channelHealthCheckMinutes channelMaxRestartsPerHour channelStaleEventThresholdMinutes
    cliAgents handshakeTimeoutMs mode nodes publicOrigin push reload remote roles tailscale terminal
    tools webchat
""")
AGENT_DEFAULTS = _keys("""
    additionalSystemPrompt agentRuntime blockStreamingBreak blockStreamingChunk blockStreamingCoalesce
    blockStreamingDefault bootstrapMaxChars bootstrapPromptTruncationWarning bootstrapTotalMaxChars cliBackends
    compaction contextInjection contextLimits contextPruning contextTokens cwd elevatedDefault embeddedAgent
    embeddedPi envelopeElapsed envelopeTimestamp envelopeTimezone experimental fastModeDefault heartbeat
    humanDelay imageGenerationModel imageMaxDimensionPx imageModel llm
    mediaGenerationAutoProviderFallback mediaMaxMb memorySearch modelPolicy models musicGenerationModel params
    pdfMaxBytesMb pdfMaxPages pdfModel promptOverlays reasoningDefault repoRoot runtime sandbox silentReply
    silentReplyRewrite skills skipBootstrap skipOptionalBootstrapFiles startupContext subagents systemAgent
    systemPromptOverride thinkingDefault timeFormat timeoutSeconds typingIntervalSeconds typingMode userTimezone
    utilityModel verboseDefault videoGenerationModel workspace
""")
RUNTIME = _keys("acp")
AGENT_ENTRY = _keys("""
    agentDir agentRuntime contextInjection contextLimits contextTokens cwd embeddedAgent embeddedPi
    fastModeDefault groupChat heartbeat humanDelay identity memorySearch modelPolicy models params
    reasoningDefault sandbox skills skillsLimits statusUpdates subagents systemPromptOverride thinkingDefault
    tts utilityModel verboseDefault workspace
""")
AGENTS = _keys("bindings ownership")
PROVIDER = _keys("""
    agentRuntime auth authHeader compat contextTokens contextWindow injectNumCtxForOpenAICompat localService
    maxTokens params region request timeoutSeconds
""")
MODELS = _keys("bedrockDiscovery mode pricing proxy")
SESSION = _keys("""
    agentToAgent dmScope groupScope identityLinks mainKey maintenance maxRecentTurns
    parentForkMaxTokens reset resetByChannel resetByType resetTriggers scope sendPolicy threadBindings
    transcriptRetentionDays typingIntervalSeconds typingMode writeLock
""")
ROOT = _keys("""
    accessGroups acp agent approvals audio auth bindings broadcast browser canvasHost channels cli cloudWorkers
    commands commitments crestodian cron diagnostics discord discovery env hooks identity imessage logging
    media memory messages meta nodeHost plugins proxy routing secrets signal skills slack surfaces talk telegram
    transcripts tts ui update vault web whatsapp wizard worktrees
""")
TOOLS = _keys("""
    agentToAgent allow alsoAllow byModel byProvider codeMode deny elevated exec experimental fs links loopDetection
    media message profile sandbox sessions sessions_spawn subagents toolSearch toolsBySender web
""")
MCP = _keys("apps sessionIdleTtlMs")
MCP_SERVER = _keys("""
    auth clientCert clientKey codex connectTimeout connectionTimeoutMs description oauth requestTimeoutMs sslVerify
    supportsParallelToolCalls timeout toolFilter toolNames workingDirectory
""")
