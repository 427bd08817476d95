/* ops/microsoft_operators.h - every operator of com.microsoft: in which
 * operator sets of that domain it exists, and its attributes, in the words of attributes.c. Written
 * by tools/operator_table.py from what the Python package onnxruntime says; a test compares. An
 * operator that is added to this library is here already.
 */
static const Listed microsoft_operators[] = {
    /* name, since, until (0: it is there still), attributes */
    {"Attention", 1, 0,
     "do_rotary:i mask_filter_value:f num_heads:i past_present_share_buffer:i "
     "qkv_hidden_sizes:I rotary_embedding_dim:i scale:f unidirectional:i"},
    {"AttnLSTM", 1, 0,
     "activation_alpha:F activation_beta:F activations:S clip:f direction:s hidden_size:i "
     "input_forget:i"},
    {"BeamSearch", 1, 0,
     "decoder:g decoder_start_token_id:i early_stopping:i encoder:g eos_token_id:i "
     "init_decoder:g model_type:i no_repeat_ngram_size:i pad_token_id:i vocab_size:i"},
    {"BiasAdd", 1, 0, ""},
    {"BiasDropout", 1, 0, "seed:i"},
    {"BiasGelu", 1, 0, ""},
    {"BiasSoftmax", 1, 0, "axis:i is_inner_broadcast:i"},
    {"BiasSplitGelu", 1, 0, ""},
    {"BifurcationDetector", 1, 0, "max_ngram_size:i min_ngram_size:i"},
    {"BitmaskBiasDropout", 1, 0, "seed:i"},
    {"BitmaskDropout", 1, 0, "seed:i"},
    {"BranchwiseRMSNorm", 1, 0, "epsilon:f num_branches:i"},
    {"CDist", 1, 0, "metric:s"},
    {"CausalConvWithState", 1, 0,
     "activation:s channels_last:i dilation:i input_channel_offset:i input_channels:i ndim:i "
     "state_channels_last:i state_length:i state_update_capacity:i state_window:i"},
    {"ComplexMul", 1, 0, ""},
    {"ComplexMulConj", 1, 0, ""},
    {"ConvStateReplay", 1, 0, ""},
    {"ConvTransposeWithDynamicPads", 1, 0,
     "auto_pad:s dilations:I group:i kernel_shape:I output_padding:I strides:I"},
    {"CropAndResize", 1, 0, "extrapolation_value:f mode:s"},
    {"DecoderAttention", 1, 0, "mask_filter_value:f num_heads:i"},
    {"DecoderMaskedMultiHeadAttention", 1, 0,
     "mask_filter_value:f num_heads:i output_qk:i past_present_share_buffer:i scale:f"},
    {"DecoderMaskedSelfAttention", 1, 0,
     "do_rotary:i mask_filter_value:f num_heads:i past_present_share_buffer:i scale:f"},
    {"DequantizeBFP", 1, 0, "bfp_type:i block_dim:i dtype:i"},
    {"DequantizeLinear", 1, 0, "axis:i"},
    {"DequantizeWithOrder", 1, 0, "order_input:i order_output:i to:i"},
    {"DynamicQuantizeLSTM", 1, 0,
     "activation_alpha:F activation_beta:F activations:S clip:f direction:s hidden_size:i "
     "input_forget:i"},
    {"DynamicQuantizeMatMul", 1, 0, ""},
    {"DynamicSparseAttention", 1, 0,
     "attention_mode:s auxiliary_kv_shared:i do_rotary:i is_causal:i kv_num_heads:i "
     "local_window_size:i num_heads:i output_bf16:i qk_norm_epsilon:f rotary_interleaved:i "
     "rotary_offset:i scale:f selected_kv_source:s smooth_softmax:i"},
    {"DynamicTimeWarping", 1, 0, ""},
    {"EPContext", 1, 0,
     "embed_mode:i ep_cache_context:s ep_sdk_version:s hardware_architecture:s main_context:i "
     "max_size:i notes:s onnx_model_filename:s partition_name:s source:s"},
    {"EmbedLayerNormalization", 1, 0, "epsilon:f mask_index_type:i"},
    {"EngramGate", 1, 0, "epsilon:f"},
    {"ExpandDims", 1, 0, ""},
    {"FastGelu", 1, 0, ""},
    {"FusedConv", 1, 0,
     "activation:s activation_params:F auto_pad:s dilations:I group:i kernel_shape:I pads:I "
     "strides:I"},
    {"FusedGemm", 1, 0,
     "activation:s activation_alpha:f activation_beta:f activation_gamma:f alpha:f beta:f "
     "transA:i transB:i"},
    {"FusedMatMul", 1, 0, "alpha:f transA:i transB:i transBatchA:i transBatchB:i"},
    {"FusedMatMulActivation", 1, 0,
     "activation:s activation_alpha:f activation_axis:i activation_beta:f activation_gamma:f "
     "alpha:f transA:i transB:i transBatchA:i transBatchB:i"},
    {"GatedAdd", 1, 0, ""},
    {"GatedDeltaNet", 1, 0,
     "beta_activation:s chunk_size:i gate_activation:s gate_lower_bound:f qk_l2_norm:i scale:f "
     "state_update_capacity:i update_rule:s"},
    {"GatedDeltaNetStateReplay", 1, 0, ""},
    {"GatedRMSNorm", 1, 0, "activation:s epsilon:f"},
    {"GatedRelativePositionBias", 1, 0, "num_heads:i"},
    {"GatherBlockQuantized", 1, 0, "bits:i block_size:i gather_axis:i quantize_axis:i"},
    {"GatherND", 1, 0, ""},
    {"GatherPacked", 1, 0, "K:i output_dtype:i packed_type:i"},
    {"Gelu", 1, 0, ""},
    {"GemmFastGelu", 1, 0, ""},
    {"GemmFloat8", 1, 0, "activation:s alpha:f beta:f dtype:i transA:i transB:i"},
    {"GemmaRotaryEmbedding", 1, 0, ""},
    {"GreedySearch", 1, 0,
     "decoder:g decoder_start_token_id:i encoder:g eos_token_id:i init_decoder:g model_type:i "
     "no_repeat_ngram_size:i pad_token_id:i vocab_size:i"},
    {"GridSample", 1, 0, "align_corners:i mode:s padding_mode:s"},
    {"GroupNorm", 1, 0, "activation:i channels_last:i epsilon:f groups:i"},
    {"GroupQueryAttention", 1, 0,
     "causal:i do_rotary:i k_norm_epsilon:f k_quant_type:s kv_cache_bit_width:i kv_num_heads:i "
     "local_window_size:i num_heads:i q_norm_epsilon:f qk_norm_epsilon:f qk_output:i "
     "rotary_interleaved:i scale:f sliding_window_cache:i smooth_softmax:i softcap:f "
     "v_quant_type:s"},
    {"HyperConnectionLowRankMix", 1, 0,
     "epsilon:f gate_div:f gate_mul:f num_branches:i reduction_scale:f silu_alpha:f"},
    {"HyperConnectionPostMix", 1, 0, "num_branches:i"},
    {"HyperConnectionPreMix", 1, 0, "num_branches:i reduction_scale:f"},
    {"Inverse", 1, 0, ""},
    {"Irfft", 1, 0, "normalized:i onesided:i signal_ndim:i"},
    {"IsAllFinite", 1, 0, "isinf_only:i isnan_only:i"},
    {"LinearAttention", 1, 0,
     "chunk_size:i kv_num_heads:i q_num_heads:i scale:f state_window:i update_rule:s"},
    {"LinearAttentionGate", 1, 0, ""},
    {"LongformerAttention", 1, 0, "num_heads:i window:i"},
    {"MRotaryEmbedding", 1, 0,
     "interleaved:i is_packed_batching:i mrope_layout:i mrope_section:I num_heads:i "
     "rotary_embedding_dim:i scale:f"},
    {"Mamba2Verify", 1, 0, "d_state:i epsilon:f head_dim:i heads:i n_groups:i time_step_min:f"},
    {"MatMulBlockQuantizedFp4Weight", 1, 0, "block_size:i"},
    {"MatMulBlockQuantizedFp8Weight", 1, 0, "block_size:i"},
    {"MatMulBnb4", 1, 0, "K:i N:i block_size:i quant_type:i training_mode:i transB:i"},
    {"MatMulFpQ4", 1, 0, "blk_quant_type:i"},
    {"MatMulInteger16", 1, 0, ""},
    {"MatMulIntegerToFloat", 1, 0, ""},
    {"MatMulNBits", 1, 0, "K:i N:i accuracy_level:i bits:i block_size:i weight_prepacked:i"},
    {"MatMulNBitsMlp", 1, 0,
     "K:i N:i accuracy_level:i activation:s bits:i block_size:i epsilon:f"},
    {"MatMulNBitsQLoRA", 1, 0,
     "K:i N:i accuracy_level:i bits:i block_size:i lora_bits:i lora_block_size:i"},
    {"MatMulNBitsQkv", 1, 0, "K:i Nkv:i Nq:i accuracy_level:i bits:i block_size:i epsilon:f"},
    {"MatMulPacked", 1, 0, "K:i N:i activation_type:s packed_type:i"},
    {"MaxpoolWithMask", 1, 0, "auto_pad:s kernel_shape:I pads:I storage_order:i strides:I"},
    {"MoE", 1, 0,
     "activation_alpha:f activation_beta:f activation_type:s k:i normalize_routing_weights:i "
     "swiglu_fusion:i swiglu_limit:f swiglu_limit_after_activation:i use_sparse_mixer:i"},
    {"MoEGroupRouter", 1, 0, "group_topk:i n_group:i router_sentinel:f top_k:i topk_group:i"},
    {"MoEPacked", 1, 0,
     "activation_type:s down_type:i gate_type:i k:i normalize_routing_weights:i "
     "routed_scaling_factor:f routing_epsilon:f up_type:i"},
    {"MulInteger", 1, 0, ""},
    {"MultiHeadAttention", 1, 0, "mask_filter_value:f num_heads:i scale:f unidirectional:i"},
    {"MurmurHash3", 1, 0, "positive:i seed:i"},
    {"NGramHashMapping", 1, 0, "max_ngram_size:i n_head_per_ngram:i pad_id:i reset_on_eos:i"},
    {"NGramRepeatBlock", 1, 0, "ngram_size:i"},
    {"NhwcConv", 1, 0, "auto_pad:s dilations:I group:i kernel_shape:I pads:I strides:I"},
    {"NhwcFusedConv", 1, 0,
     "activation:s activation_params:F auto_pad:s dilations:I group:i kernel_shape:I pads:I "
     "strides:I"},
    {"NhwcMaxPool", 1, 0, "auto_pad:s ceil_mode:i dilations:I kernel_shape:I pads:I strides:I"},
    {"PackedAttention", 1, 0, "num_heads:i qkv_hidden_sizes:I scale:f"},
    {"PackedMultiHeadAttention", 1, 0, "mask_filter_value:f num_heads:i scale:f"},
    {"PackedSparseAttentionIndexer", 1, 0,
     "compress_ratio:i epsilon:f head_weight_scale:f index_topk:i indexshare_state_policy:s "
     "max_output_entries:i policy_mode:s scale:f state_capacity:i state_update_capacity:i "
     "token_budget:i"},
    {"PackedSparseAttentionIndexerMerge", 1, 0, "max_output_entries:i policy_mode:s"},
    {"Pad", 1, 0, "mode:s"},
    {"PagedAttention", 1, 0,
     "do_rotary:i is_causal:i k_cache_dtype:s k_quant_type:s kv_cache_layout:s kv_num_heads:i "
     "local_window_size:i num_heads:i qk_norm_epsilon:f rotary_interleaved:i rotary_offset:i "
     "scale:f softcap:f v_cache_dtype:s v_head_size:i v_quant_type:s"},
    {"QAttention", 1, 0,
     "do_rotary:i mask_filter_value:f num_heads:i past_present_share_buffer:i scale:f "
     "unidirectional:i"},
    {"QEmbedLayerNormalization", 1, 0, "epsilon:f"},
    {"QGemm", 1, 0, "alpha:f transA:i transB:i"},
    {"QLinearAdd", 1, 0, ""},
    {"QLinearAveragePool", 1, 0,
     "auto_pad:s ceil_mode:i channels_last:i count_include_pad:i kernel_shape:I pads:I "
     "strides:I"},
    {"QLinearConcat", 1, 0, "axis:i"},
    {"QLinearConv", 1, 0,
     "auto_pad:s channels_last:i dilations:I group:i kernel_shape:I pads:I strides:I"},
    {"QLinearGlobalAveragePool", 1, 0, "channels_last:i"},
    {"QLinearLeakyRelu", 1, 0, "alpha:f"},
    {"QLinearMul", 1, 0, ""},
    {"QLinearReduceMean", 1, 0, "axes:I keepdims:i"},
    {"QLinearSigmoid", 1, 0, ""},
    {"QLinearSoftmax", 1, 0, "axis:i opset:i"},
    {"QLinearWhere", 1, 0, ""},
    {"QMoE", 1, 0,
     "accuracy_level:i activation_alpha:f activation_beta:f activation_type:s block_size:i "
     "expert_weight_bits:i fc1_expert_weight_bits:i fc2_expert_weight_bits:i "
     "fc3_expert_weight_bits:i k:i normalize_routing_weights:i quant_type:s swiglu_fusion:i "
     "swiglu_limit:f swiglu_limit_after_activation:i use_sparse_mixer:i weights_prepacked:i"},
    {"QOrderedAttention", 1, 0,
     "num_heads:i order_input:i order_output:i order_weight:i qkv_hidden_sizes:I "
     "unidirectional:i"},
    {"QOrderedGelu", 1, 0, "order_X:i order_Y:i"},
    {"QOrderedLayerNormalization", 1, 0, "axis:i epsilon:f order_X:i order_Y:i"},
    {"QOrderedLongformerAttention", 1, 0,
     "num_heads:i order_global_weight:i order_input:i order_output:i order_weight:i window:i"},
    {"QOrderedMatMul", 1, 0, "order_A:i order_B:i order_Y:i"},
    {"QuantizeBFP", 1, 0, "bfp_type:i block_dim:i"},
    {"QuantizeLinear", 1, 0, "axis:i"},
    {"QuantizeWithOrder", 1, 0, "order_input:i order_output:i"},
    {"QuickGelu", 1, 0, "alpha:f"},
    {"RMSNormRotary", 1, 0,
     "epsilon:f flatten_batch:i input_start:i input_width:i output_fp16:i "
     "rotary_embedding_dim:i use_fp32_arithmetic:i"},
    {"Range", 1, 0, ""},
    {"ReduceSumInteger", 1, 0, "axes:I keepdims:i"},
    {"RelativePositionBias", 1, 0, "is_bidirectional:i max_distance:i"},
    {"RemovePadding", 1, 0, ""},
    {"RestorePadding", 1, 0, ""},
    {"Rfft", 1, 0, "normalized:i onesided:i signal_ndim:i"},
    {"RotaryEmbedding", 1, 0,
     "interleaved:i is_packed_batching:i num_heads:i rotary_embedding_dim:i scale:f"},
    {"RouterGateUpProj", 1, 0,
     "activation:s activation_alpha:f activation_beta:f limit:f router_size:i"},
    {"SampleOp", 1, 0, ""},
    {"Sampling", 1, 0,
     "custom:i decoder:g decoder_start_token_id:i encoder:g eos_token_id:i filter_value:f "
     "init_decoder:g min_tokens_to_keep:i model_type:i no_repeat_ngram_size:i pad_token_id:i "
     "presence_penalty:f temperature:f top_p:f vocab_size:i"},
    {"ScaledSiLU", 1, 0, "alpha:f"},
    {"SkipGroupNorm", 1, 0, "activation:i channels_last:i epsilon:f groups:i"},
    {"SkipLayerNormalization", 1, 0, "epsilon:f"},
    {"SkipSimplifiedLayerNormalization", 1, 0, "epsilon:f"},
    {"Snpe", 1, 0, "DLC:s notes:s snpe_version:s target_device:s"},
    {"SparseAttention", 1, 0,
     "do_rotary:i kv_num_heads:i num_heads:i rotary_interleaved:i scale:f sparse_block_size:i"},
    {"SparseAttentionIndexer", 1, 0,
     "compress_ratio:i epsilon:f head_weight_scale:f index_topk:i policy_mode:s scale:f "
     "token_budget:i"},
    {"SparsePagedAttention", 1, 0,
     "attention_mode:s auxiliary_cache_layout:s auxiliary_kv_shared:i do_rotary:i is_causal:i "
     "k_quant_type:s kv_num_heads:i local_window_size:i num_heads:i qk_norm_epsilon:f "
     "rotary_interleaved:i rotary_offset:i scale:f selected_kv_source:s softcap:f "
     "v_quant_type:s"},
    {"SparseToDenseMatMul", 1, 0, "alpha:f transA:i transB:i"},
    {"SpeculativePrefixCommit", 1, 0, "head_rows:i"},
    {"SwiGLU", 1, 0, "activation_alpha:f activation_beta:f limit:f round_activation:i"},
    {"Tokenizer", 1, 0, "mark:i mincharnum:i pad_value:s separators:S tokenexp:s"},
    {"TorchEmbedding", 1, 0, ""},
    {"TransposeMatMul", 1, 0, "alpha:f transA:i transB:i"},
    {"Trilu", 1, 0, "upper:i"},
    {"UnfoldTensor", 1, 0, "dim:i size:i step:i"},
    {"Unique", 1, 0, ""},
    {"VarlenCausalConvWithState", 1, 0,
     "activation:s delta_offset:i dilation:i group_size:i state_update_capacity:i"},
    {"VarlenNGramHashMapping", 1, 0,
     "max_ngram_size:i n_head_per_ngram:i pad_id:i reset_on_eos:i state_update_capacity:i"},
    {"WhisperBeamSearch", 1, 0,
     "beginning_timestamp_token_id:i decoder:g decoder_output_cross_qk:i "
     "decoder_start_token_id:i early_stopping:i encoder:g eos_token_id:i init_decoder:g "
     "model_type:i no_repeat_ngram_size:i no_speech_token_id:i no_timestamps_token_id:i "
     "pad_token_id:i start_of_lm_token_id:i transcribe_token_id:i translate_token_id:i "
     "vocab_size:i"},
    {"WordConvEmbedding", 1, 0, "char_embedding_size:i conv_window_size:i embedding_size:i"},
};
